"""A release command runs once for each image, whatever else of its service changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.provider import release_command
from slipway._internal.provider.handler import ResourceState
from slipway._internal.provider.release_command import (
    MAX_RUNS,
    DockerReleaseCommandHandler,
    KubernetesReleaseCommandHandler,
)
from slipway._internal.provider.servicer import RESOURCE_HANDLERS
from slipway._internal.provider.values import UNKNOWN
from slipway._internal.rollout.cancellation import CancellationToken
from tests import synthetic

URN = "urn:pulumi:dev::demo::slipway:docker:ReleaseCommand::api"


def image(letter: str) -> str:
    return f"127.0.0.1:5000/demo/api@sha256:{letter * 64}"


def inputs(letter: str = "a", **more: Any) -> dict[str, Any]:
    fixed = {"service": "api", "stack": "dev", "workspace": "demo", "network": "demo-dev", "image": image(letter)}
    return {**fixed, "release": ["migrate"], "secrets": {"TOKEN": "open sesame"}, **more}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What was run: image and command; an image of f's fails."""
    done: list[tuple[str, list[str]]] = []

    def run(spec: Any, command: list[str], urn: str, cancellation: CancellationToken) -> None:
        if spec.image == image("f"):
            raise SlipwayError("failed")
        done.append((spec.image, command))

    monkeypatch.setattr(release_command.release_command, "run_release_command", run)
    monkeypatch.setattr(release_command, "refuse_foreign_objects", lambda *_: None)
    return done


class World:
    """A state with one release command, and deploys that do to it what Pulumi would."""

    def __init__(self) -> None:
        self.handler = DockerReleaseCommandHandler()
        self.state: ResourceState | None = None

    def deploy(self, news: dict[str, Any]) -> list[str]:
        """Deploy these inputs, and return what Pulumi calls changed."""
        news = self.handler.check(news).inputs
        if self.state is None:
            actual = self.handler.create(URN, news, CancellationToken())
            self.state = ResourceState(URN, actual.id, news, actual.outputs)
            return ["created"]
        changed = list(self.handler.diff(self.state, news).changed)
        outputs = self.handler.update(self.state, news, CancellationToken()) if changed else self.state.outputs
        self.state = ResourceState(URN, self.state.id, news, outputs)
        return changed


def test_it_runs_for_each_new_image_and_for_a_new_command(ran: list[Any]) -> None:
    world = World()
    assert world.deploy(inputs("a")) == ["created"]
    assert world.deploy(inputs("b")) == ["image"]
    assert world.deploy(inputs("b", release=["migrate", "--all"])) == ["release"]
    assert ran == [(image("a"), ["migrate"]), (image("b"), ["migrate"]), (image("b"), ["migrate", "--all"])]


@pytest.mark.parametrize("change", [{"env": {"LEVEL": "info"}}, {"secrets": {"TOKEN": "new"}}, {"memory": "1g"}, {}])
def test_what_else_changes_does_not_run_it(ran: list[Any], change: dict[str, Any]) -> None:
    world = World()
    world.deploy(inputs())
    assert world.deploy(inputs(**change)) == []
    assert world.deploy(inputs(image=image("a").replace("demo/api", "demo/release/api"))) == []
    assert len(ran) == 1


def test_an_earlier_image_that_comes_back_and_the_newer_one_after_it_run_nothing(ran: list[Any]) -> None:
    world = World()
    world.deploy(inputs("a"))
    world.deploy(inputs("b"))
    assert world.deploy(inputs("a", rollsBack=True)) == []
    assert world.deploy(inputs("b")) == []
    assert world.deploy(inputs("a")) == []
    assert len(ran) == 2


def test_a_rollback_to_an_image_that_it_never_ran_for_runs_nothing_and_remembers_that(ran: list[Any]) -> None:
    world = World()
    assert world.deploy(inputs("a", rollsBack=True)) == ["created"]
    assert ran == []
    assert world.deploy(inputs("a")) == ["image"]
    assert ran == [(image("a"), ["migrate"])]


def test_one_that_failed_runs_again(ran: list[Any]) -> None:
    world = World()
    world.deploy(inputs("a"))
    for _ in range(2):
        with pytest.raises(SlipwayError):
            world.deploy(inputs("f"))
    assert world.state and [run["digest"] for run in world.state.outputs["runs"]] == [image("a").partition("@")[2]]


def test_an_image_that_is_not_built_yet_is_shown_as_a_change(ran: list[Any]) -> None:
    world = World()
    world.deploy(inputs("a"))
    assert world.state
    assert world.handler.diff(world.state, inputs("a", image=UNKNOWN)).changed == ["image"]
    assert world.handler.preview_outputs(inputs())["runs"] == UNKNOWN
    assert world.handler.unchanged_outputs(world.state) == {}


def test_the_oldest_runs_are_forgotten_and_secrets_are_no_output(ran: list[Any]) -> None:
    world = World()
    for number in range(MAX_RUNS + 5):
        world.deploy(inputs(release=["migrate", str(number)]))
    assert world.state and len(world.state.outputs["runs"]) == MAX_RUNS
    assert world.state.outputs["runs"][0]["command"] == ["migrate", str(MAX_RUNS + 4)]
    assert "secrets" not in world.state.outputs


def test_wrong_inputs_are_found_first() -> None:
    handler = DockerReleaseCommandHandler()
    assert handler.check(inputs(release=[])).failures == (("release", "names no program"),)
    assert handler.check(inputs(port=80)).failures[0][0] == "port"
    assert handler.check(inputs(image="api")).failures[0][0] == "image"


def test_on_kubernetes_it_is_a_job_of_the_stacks_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.workspace(tmp_path, 1)
    (tmp_path / "infra").mkdir(exist_ok=True)
    (tmp_path / "infra" / "Pulumi.dev.yaml").write_text(
        "config:\n  slipway:target: kubernetes\n  slipway:images: inline\n  slipway:protected: false\n"
    )
    ran: list[tuple[str, str, Any]] = []
    monkeypatch.setattr(release_command, "workspace_root", lambda: tmp_path)
    monkeypatch.setattr(release_command, "cluster_of", lambda _workspace, stack: stack.name)
    monkeypatch.setattr(
        release_command.release_job, "run_release_job", lambda *given: ran.append((given[0], given[1], given[2]))
    )
    handler = RESOURCE_HANDLERS["slipway:kubernetes:ReleaseCommand"]
    assert isinstance(handler, KubernetesReleaseCommandHandler)
    given = {"service": "api", "stack": "dev", "image": image("a"), "job": {"kind": "Job"}, "release": ["migrate"]}
    created = handler.create(URN, handler.check(given).inputs, CancellationToken())
    assert ran == [("dev", "api", {"kind": "Job"})]
    assert created.outputs["runs"][0]["command"] == ["migrate"]
