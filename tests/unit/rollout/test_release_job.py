"""A release command on a cluster runs to its end in a Job of its own, and nothing of it is left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.targets.cluster import pod, read

from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout import release_job
from slipway._internal.rollout.cancellation import CancellationToken, Cancelled
from slipway._internal.rollout.release_job import run_release_job

LABELS = {"app.kubernetes.io/name": "api", "slipway.release": "true"}
MANIFEST = {"kind": "Job", "metadata": {"namespace": "shop", "labels": LABELS}, "spec": {"backoffLimit": 0}}
COMPLETE = {"type": "Complete", "status": "True"}
FAILED = {"type": "Failed", "status": "True", "message": "Job has reached the specified backoff limit"}


class FakeCluster:
    """A cluster whose Job goes through these conditions, one each time it is asked; None: the Job is gone."""

    def __init__(self, *conditions: Mapping[str, str] | None, **container: Any) -> None:
        self._conditions = list(conditions)
        self._pod = pod("api-release-1-x", containerStatuses=[{"name": "api", "state": {}, **container}])
        self.earlier: list[str] = []
        self.created: list[Mapping[str, Any]] = []
        self.deleted: list[str] = []
        self.log = ["applying 0007", "no such column"]

    def list_objects(self, kinds: tuple[str, ...], labels: str) -> list[Any]:
        if kinds == ("jobs.batch",):
            assert labels == "app.kubernetes.io/name=api,slipway.release=true"
            return [self._job(name, None) for name in self.earlier]
        return read(self._pod)

    def create_object(self, manifest: Mapping[str, Any]) -> None:
        self.created.append(manifest)

    def find_object(self, kind: str, name: str, into: type) -> Any:
        assert (kind, name) == ("job", self.created[0]["metadata"]["name"])
        condition = self._conditions.pop(0) if len(self._conditions) > 1 else self._conditions[0]
        return None if condition is None else self._job(name, condition)

    def read_pod_logs(self, pod: str, container: str, *, tail: int) -> list[str]:
        return self.log

    def delete_job(self, name: str) -> None:
        self.deleted.append(name)

    def _job(self, name: str, condition: Mapping[str, str] | None) -> Any:
        status = {"conditions": [condition] if condition else []}
        return read({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "status": status})[0]


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(release_job, "POLL_SECONDS", 0.01)
    monkeypatch.setenv("SLIPWAY_LOGS", str(tmp_path))
    return tmp_path


def run(cluster: FakeCluster, cancellation: CancellationToken | None = None) -> None:
    run_release_job(cluster, "api", MANIFEST, cancellation or CancellationToken())  # type: ignore[arg-type]


def test_it_is_waited_for_and_removed_with_what_an_interrupted_deploy_left() -> None:
    cluster = FakeCluster({"type": "Other", "status": "True"}, COMPLETE)
    cluster.earlier = ["api-release-old"]
    run(cluster)
    [made] = cluster.created
    assert made["spec"] == {"backoffLimit": 0} and made["metadata"]["labels"] == LABELS
    assert made["metadata"]["name"].startswith("api-release-")
    assert cluster.deleted == ["api-release-old", made["metadata"]["name"]]


def test_one_that_fails_is_told_with_its_last_lines_and_its_log(logs: Path) -> None:
    cluster = FakeCluster(FAILED, state={"terminated": {"exitCode": 3, "reason": "Error"}})
    with pytest.raises(SlipwayError, match=r"service api failed: its release command failed \(exit code 3\)") as caught:
        run(cluster)
    assert "no such column" in caught.value.detail
    assert caught.value.log and caught.value.log.read_text() == "applying 0007\nno such column"
    assert cluster.deleted == [cluster.created[0]["metadata"]["name"]]


@pytest.mark.parametrize(
    ("container", "said"),
    [
        ({"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}, "it exceeded its memory limit"),
        ({}, "Job has reached the specified backoff limit"),
    ],
)
def test_why_it_failed_is_told(container: dict[str, Any], said: str) -> None:
    with pytest.raises(SlipwayError, match=said):
        run(FakeCluster(FAILED, **container))


@pytest.mark.parametrize(
    ("container", "said"),
    [
        ({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}, "ImagePullBackOff: no"),
        ({}, "the cluster makes no pod for it"),
    ],
)
def test_one_that_does_not_start_is_given_up(
    monkeypatch: pytest.MonkeyPatch, container: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr(release_job, "START_SECONDS", 0.0)
    with pytest.raises(SlipwayError, match=said):
        run(FakeCluster({"type": "Other", "status": "True"}, **container))


def test_a_job_that_somebody_removes_has_failed() -> None:
    with pytest.raises(SlipwayError, match="was removed"):
        run(FakeCluster(None))


def test_an_interrupt_removes_it() -> None:
    cancellation = CancellationToken()
    cancellation.cancel()
    cluster = FakeCluster({"type": "Other", "status": "True"}, state={"running": {}})
    with pytest.raises(Cancelled):
        run(cluster, cancellation)
    assert len(cluster.deleted) == 1
