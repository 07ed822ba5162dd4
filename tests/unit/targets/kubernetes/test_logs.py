"""The logs of pods: of all of them, of a crashed run, and of pods that start later."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.unit.targets.cluster import STACK, Cluster, crashing, deployment, pod, read, workspace

from slipway._internal.model.errors import ConfigError
from slipway._internal.run.kubernetes_objects import Pod
from slipway._internal.targets.kubernetes import logs
from slipway._internal.targets.kubernetes.observation import KubernetesTarget

LABELS = "app.kubernetes.io/part-of=shop,slipway.stack=staging,app.kubernetes.io/name=api"


def make_target(tmp_path: Path, *items: dict[str, Any]) -> KubernetesTarget:
    return KubernetesTarget(workspace(tmp_path), STACK, Cluster(read(*items)))  # type: ignore[arg-type]


def test_all_pods_of_a_service_are_read_at_once(tmp_path: Path) -> None:
    target = make_target(tmp_path, deployment(), pod("api-1"), pod("api-2"))
    assert list(target.logs("api", follow=False, tail=7)) == [f"[pod] {LABELS} api 7 2"]


def test_of_a_container_that_runs_again_the_run_that_crashed_comes_first(tmp_path: Path) -> None:
    status = {
        "name": "api",
        "restartCount": 1,
        "ready": False,
        "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 1}},
    }
    target = make_target(tmp_path, deployment(), pod("api-1", containerStatuses=[status]))
    assert isinstance(target.cluster, Cluster)
    target.cluster.logged["api-1", True] = ["it crashed"]
    assert next(iter(target.logs("api", follow=False, tail=7))) == "it crashed"


def test_a_service_without_a_pod_says_why(tmp_path: Path) -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    with pytest.raises(ConfigError, match="FailedCreate: exceeded quota"):
        list(make_target(tmp_path, deployment(conditions=[refused])).logs("api", follow=False, tail=5))
    with pytest.raises(ConfigError, match="api does not run in staging"):
        list(make_target(tmp_path).logs("api", follow=False, tail=5))


def test_of_a_job_that_is_done_the_newest_pod_is_read() -> None:
    done = [pod("a", phase="Succeeded"), pod("b", phase="Succeeded")]
    done[0]["metadata"]["creationTimestamp"] = "2026-03-02T12:00:00Z"
    found = [each for each in read(*done) if isinstance(each, Pod)]
    assert [each.metadata.name for each in logs.select_pods(found)] == ["a"]


def test_a_pod_that_comes_while_one_looks_is_followed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "POD_POLL_SECONDS", 0.05)
    monkeypatch.setattr(logs.process, "end_all_children", lambda: None)
    target = make_target(tmp_path, deployment(), pod("api-1"))
    assert isinstance(target.cluster, Cluster)
    target.cluster.logged = {("api-1", False): ["old pod"], ("api-2", False): ["new pod"]}
    with closing(target.logs("api", follow=True, tail=5)) as lines:  # type: ignore[type-var]
        assert next(lines) == "old pod"
        target.cluster.items += read(pod("api-2"))
        assert next(lines) == "new pod"


def test_a_container_that_waits_to_be_started_again_is_not_followed(tmp_path: Path) -> None:
    (waits,) = read(crashing("api-1"))
    assert isinstance(waits, Pod)
    followed = logs.PodLogFollower(Cluster(), "api", 5)  # type: ignore[arg-type]
    followed._start_following([waits], 5)
    assert not followed._ended_at
