"""A job's container is made, replaced and removed by Pulumi."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slipway._internal.provider import container, job
from slipway._internal.provider.handler import ResourceState
from slipway._internal.provider.job import JobHandler
from slipway._internal.provider.values import UNKNOWN
from slipway._internal.rollout.cancellation import CancellationToken

IMAGE = f"127.0.0.1:5000/demo/tick@sha256:{'a' * 64}"
URN = "urn:pulumi:dev::demo::slipway:docker:Job::tick"
INPUTS: dict[str, Any] = {
    "service": "tick",
    "stack": "dev",
    "workspace": "demo",
    "image": IMAGE,
    "network": "demo-dev",
    "schedule": "0 3 * * *",
    "secrets": {"TOKEN": "open sesame"},
    "drainSeconds": 7,
}


@pytest.mark.parametrize(
    ("change", "key"), [({"schedule": "at noon"}, "schedule"), ({"port": 80}, "port"), ({"image": "tick"}, "image")]
)
def test_wrong_inputs_are_found_first(change: dict[str, Any], key: str) -> None:
    [(name, _)] = JobHandler().check({**INPUTS, **change}).failures
    assert name == key
    assert not JobHandler().check({**INPUTS, "schedule": UNKNOWN}).failures


def test_another_schedule_replaces_it_and_another_drain_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "find_drift", lambda _old: "")
    state = ResourceState(URN, "c1", INPUTS, {})
    assert JobHandler().diff(state, {**INPUTS, "schedule": "@daily"}).replaces == ["schedule"]
    diff = JobHandler().diff(state, {**INPUTS, "drainSeconds": 9})
    assert (list(diff.changed), list(diff.replaces), diff.delete_before_replace) == (["drainSeconds"], [], False)


def test_it_is_made_with_its_schedule_and_removed_with_its_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = []

    def create(spec: Any, schedule: str, name: str, urn: str, cancellation: CancellationToken) -> Any:
        done.append((spec.service, spec.secrets, schedule, urn))
        return SimpleNamespace(id="c1", name=name, attrs={"Image": "sha256:b"})

    def end(container_id: str, seconds: float, cancellation: CancellationToken, **names: str) -> None:
        done.append((container_id, seconds, names))

    monkeypatch.setattr(job, "create_job_container", create)
    monkeypatch.setattr(job, "end_job", end)
    monkeypatch.setattr(job, "refuse_foreign_objects", lambda *_: None)
    monkeypatch.setattr(job, "refuse_copied_container", lambda _old: None)
    handler = JobHandler()
    made = handler.create(URN, handler.check(INPUTS).inputs, CancellationToken())
    assert made.outputs["containerId"] == "c1" and "secrets" not in made.outputs
    handler.delete(ResourceState(URN, made.id, INPUTS, made.outputs), CancellationToken())
    assert done == [
        ("tick", {"TOKEN": "open sesame"}, "0 3 * * *", URN),
        ("c1", 7, {"name": made.outputs["containerName"], "volume": "demo-dev-tick-job"}),
    ]
