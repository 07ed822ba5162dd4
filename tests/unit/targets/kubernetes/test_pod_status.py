"""Reading pods: their progress, and their problems."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.targets.cluster import crashing, deployment, pod, read, waiting

from slipway._internal.run.kubernetes_objects import Deployment, Pod
from slipway._internal.targets.kubernetes import pod_status

UNSCHEDULABLE = {
    "phase": "Pending",
    "containerStatuses": [],
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}
    ],
}


def the_pod(data: dict[str, Any]) -> Pod:
    (found,) = read(data)
    assert isinstance(found, Pod)
    return found


def the_deployment(data: dict[str, Any]) -> Deployment:
    (found,) = read(data)
    assert isinstance(found, Deployment)
    return found


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (waiting("api-1", "ImagePullBackOff", message="Back-off pulling image"), "ImagePullBackOff"),
        (waiting("api-1", "CreateContainerConfigError"), "CreateContainerConfigError"),
        (crashing("api-1"), "CrashLoopBackOff"),
        (crashing("api-1", reason="OOMKilled", code=137), "OOMKilled"),
        (pod("api-1", **UNSCHEDULABLE), "Unschedulable"),
        (pod("api-1", phase="Failed", reason="Evicted", containerStatuses=[]), "Evicted"),
    ],
)
def test_a_pods_trouble_has_kubernetes_own_word(data: dict[str, Any], reason: str) -> None:
    found = pod_status.find_pod_problem(the_pod(data))
    assert found
    assert (found.reason, found.pod, found.restarted) == (reason, "api-1", False)


@pytest.mark.parametrize("data", [pod("api-1"), waiting("api-1", "ContainerCreating"), waiting("api-1", "")])
def test_a_pod_that_serves_or_starts_has_none(data: dict[str, Any]) -> None:
    assert pod_status.find_pod_problem(the_pod(data)) is None


def test_a_container_that_runs_again_after_a_crash_is_in_trouble_until_it_is_ready() -> None:
    ended = {"terminated": {"exitCode": 2, "reason": "Error"}}
    status = {"name": "api", "restartCount": 1, "state": {"running": {}}, "lastState": ended}
    again = pod_status.find_pod_problem(the_pod(pod("api-1", containerStatuses=[{**status, "ready": False}])))
    assert again
    assert (again.reason, again.message, again.restarted) == ("Error", "exit code 2, 1 restart", True)
    assert pod_status.find_pod_problem(the_pod(pod("api-1", containerStatuses=[{**status, "ready": True}]))) is None


def test_pods_that_end_or_are_done_do_not_count() -> None:
    ending = crashing("api-old")
    ending["metadata"]["deletionTimestamp"] = "2026-03-01T12:05:00Z"
    there = [the_pod(each) for each in (ending, pod("api-new"), pod("api-done", phase="Succeeded"))]
    assert [each.metadata.name for each in pod_status.active_pods(there)] == ["api-new"]


def test_the_newest_pods_trouble_is_what_a_rollout_waits_for() -> None:
    newer = waiting("api-2", "ErrImagePull")
    newer["metadata"]["creationTimestamp"] = "2026-03-01T13:00:00Z"
    found = pod_status.find_deployment_problem(
        the_deployment(deployment()), [the_pod(newer), the_pod(crashing("api-1"))]
    )
    assert found
    assert found.pod == "api-2"


def test_pods_that_the_cluster_refuses_are_a_deployments_trouble() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    found = pod_status.find_deployment_problem(the_deployment(deployment(conditions=[refused], readyReplicas=0)), [])
    assert found
    assert (found.reason, found.message) == ("FailedCreate", "exceeded quota")


def test_a_rollout_that_takes_too_long_is_trouble_with_the_pod_that_is_not_ready() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    unready = the_pod(pod("api-2", conditions=[{"type": "Ready", "status": "False"}]))
    found = pod_status.find_deployment_problem(
        the_deployment(deployment(conditions=[late], updatedReplicas=0)), [unready]
    )
    assert found
    assert (found.reason, found.pod) == ("ProgressDeadlineExceeded", "api-2")


@pytest.mark.parametrize(
    ("status", "done"),
    [({}, True), ({"observedGeneration": 0}, False), ({"updatedReplicas": 0}, False), ({"readyReplicas": 0}, False)],
)
def test_a_rollout_is_done_when_all_pods_are_new_and_ready(status: dict[str, int], done: bool) -> None:
    assert pod_status.is_rolled_out(the_deployment(deployment(**status))) is done


DONE = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
BEGUN = {**DONE, "reason": "ReplicaSetUpdated"}
LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"conditions": [DONE]}, "done"),
        ({"conditions": [DONE], "readyReplicas": 0}, "done"),  # it ended well, and its pods ended later
        ({"conditions": [BEGUN]}, "under way"),
        ({"conditions": [DONE], "updatedReplicas": 0}, "under way"),
        ({"conditions": [DONE], "replicas": 2}, "under way"),  # the pods of before are still there
        ({"conditions": [LATE]}, "failed"),
        ({"conditions": [LATE], "observedGeneration": 0}, "under way"),  # the one before has failed
        ({"conditions": [DONE], "observedGeneration": 0}, "under way"),  # the one before is done
        ({}, "done"),  # nobody tells a deadline
    ],
)
def test_a_rollout_is_judged_by_what_the_cluster_has_seen_of_the_last_change(
    status: dict[str, Any], state: str
) -> None:
    data = deployment()
    data["status"].update(status)
    assert pod_status.rollout_state(the_deployment(data)) == state
