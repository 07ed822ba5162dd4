"""Summarizes pods and Deployments: their progress, and their problems."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from slipway._internal.run.kubernetes_objects import Condition, ContainerStatus, Deployment, Job, Pod

STARTING_REASONS = ("ContainerCreating", "PodInitializing", "")
"""Waiting reasons of a container that is about to start."""


@dataclass(frozen=True)
class PodProblem:
    """Why a pod does not serve: Kubernetes' reason and message, and the pod's name.

    `restarted` means that a crashed container runs again, so the previous run's log says why it crashed.
    """

    reason: str
    message: str = ""
    pod: str = ""
    restarted: bool = False


def active_pods(pods: Iterable[Pod]) -> list[Pod]:
    """Return the pods that are neither terminating nor finished, the oldest first."""
    active = [pod for pod in pods if not pod.metadata.deletion_timestamp and pod.status.phase != "Succeeded"]
    return sorted(active, key=lambda pod: (str(pod.metadata.creation_timestamp), pod.metadata.name))


def find_pod_problem(pod: Pod) -> PodProblem | None:
    """Return a pod's problem; None if it serves or is starting."""
    name = pod.metadata.name
    if pod.status.phase == "Failed" and not pod.status.container_statuses:
        return PodProblem(pod.status.reason or "Failed", pod.status.message, name)
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        if problem := _find_container_problem(status, name):
            return problem
    scheduled = find_condition(pod.status.conditions, "PodScheduled")
    if scheduled and scheduled.status == "False":
        return PodProblem(scheduled.reason or "Unschedulable", scheduled.message, name)
    return None


def _find_container_problem(status: ContainerStatus, pod: str) -> PodProblem | None:
    state, terminated = status.state, status.last_state.terminated
    if state.waiting and state.waiting.reason not in STARTING_REASONS:
        if state.waiting.reason != "CrashLoopBackOff":
            return PodProblem(state.waiting.reason, state.waiting.message, pod)
        killed = terminated is not None and terminated.reason == "OOMKilled"
        return PodProblem("OOMKilled" if killed else "CrashLoopBackOff", _describe_exit(status), pod)
    if state.terminated and state.terminated.exit_code:
        return PodProblem(state.terminated.reason or "Error", f"exit code {state.terminated.exit_code}", pod)
    if not status.ready and terminated and (terminated.exit_code or status.restart_count > 1):
        return PodProblem(
            terminated.reason or "Error", _describe_exit(status), pod, restarted=state.running is not None
        )
    return None


def _describe_exit(status: ContainerStatus) -> str:
    terminated = status.last_state.terminated
    times = f"{status.restart_count} restarts" if status.restart_count != 1 else "1 restart"
    return f"exit code {terminated.exit_code}, {times}" if terminated else times


def find_deployment_problem(deployment: Deployment, pods: Iterable[Pod]) -> PodProblem | None:
    """Return a service's problem: with one of its pods, with creating pods, or with exceeding the deadline."""
    problems = [problem for pod in active_pods(pods) if (problem := find_pod_problem(pod))]
    if problems:
        return problems[-1]  # the newest pod's, which the rollout waits for
    conditions = deployment.status.conditions
    refused = find_condition(conditions, "ReplicaFailure")
    if refused and refused.status == "True":
        return PodProblem(refused.reason or "FailedCreate", refused.message)
    late = find_condition(conditions, "Progressing")
    if late and late.status == "False" and not is_rolled_out(deployment):
        unready = [pod.metadata.name for pod in active_pods(pods) if not is_ready(pod)]
        return PodProblem(late.reason, late.message, unready[-1] if unready else "")
    return None


def is_rolled_out(deployment: Deployment) -> bool:
    """Whether all of a Deployment's pods have its newest template and are ready."""
    replicas, status = deployment.spec.replicas, deployment.status
    is_observed = status.observed_generation >= deployment.metadata.generation
    return is_observed and status.updated_replicas == replicas == status.ready_replicas == status.replicas


def rollout_state(deployment: Deployment) -> Literal["done", "under way", "failed"]:
    """Return the state of a Deployment's last rollout, as Kubernetes sees it; pods that stop later do not count."""
    replicas, status = deployment.spec.replicas, deployment.status
    progress = find_condition(status.conditions, "Progressing")
    if status.observed_generation < deployment.metadata.generation:
        return "under way"
    if progress and progress.status == "False":
        return "failed"
    is_new = status.updated_replicas == replicas == status.replicas
    return "done" if is_new and (not progress or progress.reason == "NewReplicaSetAvailable") else "under way"


def is_ready(pod: Pod) -> bool:
    """Whether a pod receives requests."""
    ready = find_condition(pod.status.conditions, "Ready")
    return ready is not None and ready.status == "True"


def count_restarts(pods: Iterable[Pod]) -> int:
    """Return the number of container restarts."""
    return sum(status.restart_count for pod in pods for status in pod.status.container_statuses)


def last_job_result(jobs: Iterable[Job]) -> str:
    """Return the newest job's result: `succeeded`, `failed` or `runs`; empty if none ever ran."""
    ordered = sorted(jobs, key=lambda job: str(job.metadata.creation_timestamp))
    if not ordered:
        return ""
    conditions = ordered[-1].status.conditions
    true_conditions = {entry.type: entry for entry in conditions if entry.status == "True"}
    if "Failed" in true_conditions:
        return "failed"
    return "succeeded" if "Complete" in true_conditions or "SuccessCriteriaMet" in true_conditions else "runs"


def find_condition(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """Return an object's condition of the given type."""
    return next((entry for entry in conditions if entry.type == kind), None)
