"""What pods and Deployments say of themselves, in a word: how far they are, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slipway.run.objects import Condition, ContainerStatus, Deployment, Job, Pod

STARTS = ("ContainerCreating", "PodInitializing", "")
"""Why a container waits that is about to start."""


@dataclass(frozen=True)
class Trouble:
    """What keeps a pod from serving: Kubernetes' word for it, what it says more, and whose it is.

    `again` says that a container which has crashed runs again, so that the lines of the run before tell why.
    """

    reason: str
    message: str = ""
    pod: str = ""
    again: bool = False


def alive(pods: Iterable[Pod]) -> list[Pod]:
    """Return the pods that are to stay: neither ending nor finished, the oldest first."""
    found = [pod for pod in pods if not pod.metadata.deletion_timestamp and pod.status.phase != "Succeeded"]
    return sorted(found, key=lambda pod: (str(pod.metadata.creation_timestamp), pod.metadata.name))


def trouble_of(pod: Pod) -> Trouble | None:
    """Return what is wrong with a pod; None where it serves or is on its way."""
    name = pod.metadata.name
    if pod.status.phase == "Failed" and not pod.status.container_statuses:
        return Trouble(pod.status.reason or "Failed", pod.status.message, name)
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        if found := _of_container(status, name):
            return found
    scheduled = condition(pod.status.conditions, "PodScheduled")
    if scheduled and scheduled.status == "False":
        return Trouble(scheduled.reason or "Unschedulable", scheduled.message, name)
    return None


def _of_container(status: ContainerStatus, pod: str) -> Trouble | None:
    now, before = status.state, status.last_state.terminated
    if now.waiting and now.waiting.reason not in STARTS:
        if now.waiting.reason != "CrashLoopBackOff":
            return Trouble(now.waiting.reason, now.waiting.message, pod)
        killed = before is not None and before.reason == "OOMKilled"
        return Trouble("OOMKilled" if killed else "CrashLoopBackOff", _end_of(status), pod)
    if now.terminated and now.terminated.exit_code:
        return Trouble(now.terminated.reason or "Error", f"exit code {now.terminated.exit_code}", pod)
    if not status.ready and before and (before.exit_code or status.restart_count > 1):
        return Trouble(before.reason or "Error", _end_of(status), pod, again=now.running is not None)
    return None


def _end_of(status: ContainerStatus) -> str:
    before = status.last_state.terminated
    times = f"{status.restart_count} restarts" if status.restart_count != 1 else "1 restart"
    return f"exit code {before.exit_code}, {times}" if before else times


def trouble_with(deployment: Deployment, pods: Iterable[Pod]) -> Trouble | None:
    """Return what is wrong with a service: with one of its pods, with making them, or with the time that it takes."""
    found = [trouble for pod in alive(pods) if (trouble := trouble_of(pod))]
    if found:
        return found[-1]  # the newest pod's: it is the one that a rollout waits for
    conditions = deployment.status.conditions
    refused = condition(conditions, "ReplicaFailure")
    if refused and refused.status == "True":
        return Trouble(refused.reason or "FailedCreate", refused.message)
    late = condition(conditions, "Progressing")
    if late and late.status == "False" and not rolled_out(deployment):
        unready = [pod.metadata.name for pod in alive(pods) if not is_ready(pod)]
        return Trouble(late.reason, late.message, unready[-1] if unready else "")
    return None


def rolled_out(deployment: Deployment) -> bool:
    """Whether all of a Deployment's pods are of its newest template, and ready."""
    wanted, status = deployment.spec.replicas, deployment.status
    seen = status.observed_generation >= deployment.metadata.generation
    return seen and status.updated_replicas == wanted == status.ready_replicas == status.replicas


def is_ready(pod: Pod) -> bool:
    """Whether a pod gets requests."""
    ready = condition(pod.status.conditions, "Ready")
    return ready is not None and ready.status == "True"


def restarts_of(pods: Iterable[Pod]) -> int:
    """Return how often the containers of pods were started again."""
    return sum(status.restart_count for pod in pods for status in pod.status.container_statuses)


def last_result(jobs: Iterable[Job]) -> str:
    """Return how the newest job went: `succeeded`, `failed`, `runs`; nothing where none ever ran."""
    ordered = sorted(jobs, key=lambda job: str(job.metadata.creation_timestamp))
    if not ordered:
        return ""
    conditions = ordered[-1].status.conditions
    ended = {each.type: each for each in conditions if each.status == "True"}
    if "Failed" in ended:
        return "failed"
    return "succeeded" if "Complete" in ended or "SuccessCriteriaMet" in ended else "runs"


def condition(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """Return an object's condition of a kind."""
    return next((each for each in conditions if each.type == kind), None)
