"""Containers, without an engine."""

from __future__ import annotations

from typing import Any

import pytest

from slipway._internal.provider import container
from slipway._internal.provider.container import ContainerHandler
from slipway._internal.provider.handler import ResourceState
from slipway._internal.provider.values import UNKNOWN, SecretValue
from slipway._internal.rollout.desired import desired_container

IMAGE = f"127.0.0.1:5000/demo/api@sha256:{'a' * 64}"
INPUTS: dict[str, Any] = {
    "service": "api",
    "stack": "dev",
    "workspace": "demo",
    "image": IMAGE,
    "network": "demo-dev",
    "env": {"LEVEL": "info"},
    "secrets": {"TOKEN": "open sesame"},
    "port": 8000,
    "memory": "256m",
    "cpus": 0.5,
    "healthTimeout": 60,
    "drainSeconds": 30,
}


@pytest.fixture
def deployed_state(monkeypatch: pytest.MonkeyPatch) -> ResourceState:
    """A container that is in the state and runs."""
    monkeypatch.setattr(container, "find_drift", lambda deployed_state: "")
    return ResourceState("urn", "abc", INPUTS, {"imageId": "sha256:b"})


def test_defaults_are_filled_in() -> None:
    given = {key: INPUTS[key] for key in ContainerHandler.required}
    assert ContainerHandler().check(given).inputs == {**given, "env": {}, "tmpExec": False, "drainSeconds": 30}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image": "api:latest"}, ("image", "isn't pinned")),
        ({"memory": "lots"}, ("memory", "not an amount")),
        ({"tmpSize": "64 MB"}, ("tmpSize", "not an amount")),
        ({"env": {"TOKEN": SecretValue("x")}}, ("env", "contains a secret")),
        ({"secrets": {"../x": "y"}}, ("secrets", "not a file name")),
        ({"ports": []}, ("ports", "is not an input")),
        ({"service": None}, ("service", "is required")),
    ],
)
def test_wrong_inputs_are_found_first(change: dict[str, Any], says: tuple[str, str]) -> None:
    [(name, reason)] = ContainerHandler().check({**INPUTS, **change}).failures
    assert (name, says[1] in reason) == (says[0], True), reason


def test_inputs_that_are_not_known_yet_are_no_mistakes() -> None:
    assert not ContainerHandler().check({**INPUTS, "image": UNKNOWN, "network": UNKNOWN, "memory": UNKNOWN}).failures


def test_nothing_changed_changes_nothing(deployed_state: ResourceState) -> None:
    assert list(ContainerHandler().diff(deployed_state, INPUTS).changed) == []


def test_the_same_digest_in_another_repository_is_the_same_image(deployed_state: ResourceState) -> None:
    digest = IMAGE.partition("@")[2]
    assert (
        not ContainerHandler()
        .diff(deployed_state, {**INPUTS, "image": f"127.0.0.1:5000/demo/release/api@{digest}"})
        .changed
    )
    assert ContainerHandler().diff(
        deployed_state, {**INPUTS, "image": f"127.0.0.1:5000/demo/api@sha256:{'b' * 64}"}
    ).replaces == ["image"]


@pytest.mark.parametrize("key", ["image", "env", "secrets", "port", "memory", "cpus", "network", "tmpExec", "tmpSize"])
def test_what_a_container_is_made_of_replaces_it_the_new_one_first(deployed_state: ResourceState, key: str) -> None:
    diff = ContainerHandler().diff(deployed_state, {**INPUTS, key: "other"})
    assert (list(diff.changed), list(diff.replaces), diff.delete_before_replace) == ([key], [key], False)


@pytest.mark.parametrize("key", ["healthTimeout", "drainSeconds"])
def test_how_long_it_is_waited_for_replaces_nothing(deployed_state: ResourceState, key: str) -> None:
    diff = ContainerHandler().diff(deployed_state, {**INPUTS, key: 5})
    assert (list(diff.changed), list(diff.replaces)) == ([key], [])


def test_a_container_that_is_gone_is_replaced(deployed_state: ResourceState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "find_drift", lambda deployed_state: "containerId")
    diff = ContainerHandler().diff(deployed_state, INPUTS)
    assert (list(diff.changed), list(diff.replaces)) == (["containerId"], ["containerId"])


def test_secrets_are_no_outputs() -> None:
    assert "secrets" not in ContainerHandler().preview_outputs(INPUTS)


def test_what_pulumi_wants_is_noted_for_who_makes_containers_without_it(deployed_state: ResourceState) -> None:
    urn = "urn:pulumi:noted::demo::slipway:docker:Container::api"
    ContainerHandler().diff(
        ResourceState(urn, deployed_state.id, deployed_state.inputs, deployed_state.outputs),
        {**INPUTS, "memory": "64m"},
    )
    found_urn, spec = desired_container("noted", "api")
    assert (found_urn, spec.memory, spec.secrets) == (urn, "64m", {"TOKEN": "open sesame"})
