"""Runs a service's release command once, to its end, in a Job of its own on a cluster."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from slipway._internal.commands import kubectl
from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout.cancellation import CancellationToken, Cancelled
from slipway._internal.rollout.release_progress import Progress
from slipway._internal.rollout.start_failure import MAX_LOG_LINES, error_with_log
from slipway._internal.run.cluster import Cluster
from slipway._internal.run.kubernetes_objects import ContainerStatus, Job, Pod

POLL_SECONDS = 1.0
START_SECONDS = 300.0
"""How long the pod of a command may take to start: its image is pulled, and perhaps a node is added for it."""
REMEDY = "Fix that and deploy again: the command runs again. What was deployed before still serves."


def run_release_job(
    cluster: Cluster, service: str, manifest: Mapping[str, Any], cancellation: CancellationToken
) -> None:
    """Run a service's release command, with its new image, and return when it has succeeded.

    Nothing of its Job is left, however it ends. What an interrupted deploy left of an earlier one is removed first:
    two never run at a time.

    Args:
        cluster: the stack's cluster.
        service: the service's name, which is its container's too.
        manifest: the Job, without a name.
        cancellation: stops the command.

    Raises:
        SlipwayError: it failed; its last lines are in the error, its whole log in a file.
        Cancelled: the user interrupted; it was stopped.
    """
    metadata = manifest["metadata"]
    labels = ",".join(f"{label}={value}" for label, value in metadata["labels"].items())
    for earlier in cluster.list_objects(("jobs.batch",), labels):
        if isinstance(earlier, Job):
            cluster.delete_job(earlier.metadata.name)
    name = f"{service}-release-{secrets.token_hex(4)}"
    try:
        cluster.create_object({**manifest, "metadata": {**metadata, "name": name}})
        _wait(cluster, service, name, cancellation)
    except SlipwayError as error:
        if isinstance(error, Cancelled):
            raise
        raise error_with_log(service, error, _read_log(cluster, service, name), name) from error
    finally:
        with suppress(SlipwayError):  # the first error is the one to report
            cluster.delete_job(name)


def _wait(cluster: Cluster, service: str, name: str, cancellation: CancellationToken) -> None:
    progress = Progress(service)
    while True:
        job = cluster.find_object("job", name, Job)
        if job is None:
            raise SlipwayError("its release command's Job was removed before it had ended", remedy=REMEDY)
        ended = {condition.type: condition for condition in job.status.conditions if condition.status == "True"}
        if "Complete" in ended:
            return
        pods = _pods_of(cluster, job)
        if "Failed" in ended:
            reason = _describe_end(pods) or ended["Failed"].message
            raise SlipwayError(f"its release command failed ({reason})", remedy=REMEDY)
        if not _has_started(pods) and progress.seconds > START_SECONDS:
            reason = _describe_waiting(pods) or "the cluster makes no pod for it"
            raise SlipwayError(f"its release command did not start within {START_SECONDS:.0f} s ({reason})")
        progress.tell()
        cancellation.sleep(POLL_SECONDS)


def _pods_of(cluster: Cluster, job: Job) -> list[Pod]:
    labels = f"{kubectl.JOB_LABEL}={job.metadata.name}"
    return [pod for pod in cluster.list_objects(("pods",), labels) if isinstance(pod, Pod)]


def _has_started(pods: Iterable[Pod]) -> bool:
    return any(
        status.state.running or status.state.terminated for pod in pods for status in pod.status.container_statuses
    )


def _describe_end(pods: Iterable[Pod]) -> str:
    ends = [
        status.state.terminated for pod in pods for status in pod.status.container_statuses if status.state.terminated
    ]
    if any(end.reason == "OOMKilled" for end in ends):
        return "it exceeded its memory limit"
    return f"exit code {ends[-1].exit_code}" if ends else ""


def _describe_waiting(pods: Iterable[Pod]) -> str:
    waiting = [status.state.waiting for status in _statuses(pods) if status.state.waiting]
    unscheduled = [condition for pod in pods for condition in pod.status.conditions if condition.type == "PodScheduled"]
    if waiting:
        return f"{waiting[-1].reason}: {waiting[-1].message}".rstrip(": ")
    return next((condition.message for condition in unscheduled if condition.status == "False"), "")


def _statuses(pods: Iterable[Pod]) -> list[ContainerStatus]:
    return [status for pod in pods for status in pod.status.container_statuses]


def _read_log(cluster: Cluster, service: str, job: str) -> str:
    lines: list[str] = []
    with suppress(SlipwayError):  # the reason for the failure matters more than its log
        for pod in cluster.list_objects(("pods",), f"{kubectl.JOB_LABEL}={job}"):
            if isinstance(pod, Pod):
                lines += cluster.read_pod_logs(pod.metadata.name, service, tail=MAX_LOG_LINES)
    return "\n".join(lines)
