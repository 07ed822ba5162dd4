"""Explains a failed rollout from its pods, and rolls the services back to their previous images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slipway._internal.context.logs import logs_folder
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.files import PRIVATE_MODE, write_atomically
from slipway._internal.model.masking import mask
from slipway._internal.model.stack import Stack
from slipway._internal.model.terminal_text import TAIL_LINES
from slipway._internal.model.workspace import Workspace
from slipway._internal.run.cluster import Cluster
from slipway._internal.run.kubernetes_objects import Event, Namespace
from slipway._internal.targets.kubernetes import pod_status
from slipway._internal.targets.kubernetes.pod_status import PodProblem
from slipway._internal.targets.kubernetes.snapshot import ClusterSnapshot, image_of
from slipway._internal.targets.status import shorten_image
from slipway._internal.targets.target import Redeploy

MAX_EVENTS, LOG_FILE_LINES = 4, 5000
"""The number of events in the error, and of lines in the log file."""
MESSAGE_LIMIT, EVENT_KEY_LIMIT = 400, 60
"""How many characters of an event are shown, and how many are compared to detect repeats."""
LOG_UNAVAILABLE = "unable to retrieve container logs"
"""A node's message in place of a log that it has deleted."""
_REASON_ONLY = re.compile(r"Error: \w+")

REASON_MEANINGS = {
    "ImagePullBackOff": "its image cannot be pulled",
    "ErrImagePull": "its image cannot be pulled",
    "InvalidImageName": "its image's name is invalid",
    "CrashLoopBackOff": "its container exits right after it starts",
    "Error": "its container exited",
    "OOMKilled": "its container exceeded its memory limit",
    "CreateContainerConfigError": "its container cannot be created",
    "CreateContainerError": "its container cannot be created",
    "RunContainerError": "its container cannot be started",
    "Unschedulable": "no node has room for it",
    "FailedCreate": "the cluster refuses its pods",
    "ProgressDeadlineExceeded": "it did not become ready in time",
}
REASON_REMEDIES = {
    "ImagePullBackOff": "Check that the nodes can reach the registry and may pull from it: its address in "
    "workspace.toml, and the login that the stack gives the cluster.",
    "CrashLoopBackOff": "Fix the error in its last log lines.",
    "OOMKilled": "Raise `memory` under [resources] in services/{service}/service.toml, or make it use less memory.",
    "CreateContainerConfigError": "Check that everything it mounts and reads exists: `secrets` in "
    "services/{service}/service.toml, and the stack's configuration.",
    "Unschedulable": "Request less under [resources] in services/{service}/service.toml, or add a node.",
    "FailedCreate": "See above what the cluster refuses: check its quotas and admission policies.",
    "ProgressDeadlineExceeded": "Its health check did not pass: check its last log lines, its `port` and its "
    "HEALTHCHECK.",
}
_REASON_ALIASES = {
    "ErrImagePull": "ImagePullBackOff",
    "InvalidImageName": "ImagePullBackOff",
    "Error": "CrashLoopBackOff",
}


@dataclass(frozen=True)
class FailedRollout:
    """A service whose rollout failed: the image that it should run, the problem, and the lines that show it."""

    service: str
    image: str
    problem: PodProblem
    lines: tuple[str, ...]
    log: Path | None


@dataclass(frozen=True)
class RollbackPlan:
    """The images that failed services roll back to, and notes on those that do not roll back."""

    images: Mapping[str, str]
    notes: tuple[str, ...]


def inspect_failed_rollout(
    cluster: Cluster, workspace: Workspace, stack: Stack, service: str, snapshot: ClusterSnapshot
) -> FailedRollout:
    """Collect what is known of a failed rollout while its pods still exist; skip what cannot be read."""
    problem = snapshot.find_problem(service) or PodProblem(
        "ProgressDeadlineExceeded", "", _newest_unready_pod(snapshot, service)
    )
    message = f": {mask(problem.message)}"[:MESSAGE_LIMIT] if problem.message else ""
    lines = [f"{problem.pod or service}: {problem.reason}{message}"]
    log: Path | None = None
    if problem.pod:
        with suppress(SlipwayError):
            lines += format_warnings(cluster.list_events("Pod", problem.pod))
        log_lines = read_last_lines(cluster, service, problem)
        if log_lines:
            log = logs_folder(workspace) / f"{service}.{stack.name}.log"
            write_atomically(log, mask("\n".join(log_lines)) + "\n", mode=PRIVATE_MODE)
            lines += log_lines[-TAIL_LINES:]
    spec = snapshot.deployments[service].spec.template.spec
    return FailedRollout(service, image_of(service, spec), problem, tuple(lines), log)


def read_last_lines(cluster: Cluster, service: str, problem: PodProblem) -> list[str]:
    """Return a pod's last log lines: those of the crashed run if its container was restarted since.

    While the container waits for its restart, Kubernetes shows the crashed run by default.
    """
    for previous in (problem.restarted, not problem.restarted):
        with suppress(SlipwayError):
            lines = cluster.read_pod_logs(problem.pod, service, tail=LOG_FILE_LINES, previous=previous)
            if lines and not lines[0].startswith(LOG_UNAVAILABLE):
                return lines
    return []


def format_warnings(events: Sequence[Event]) -> list[str]:
    """Return the last warnings without repeats, and without those that only restate the pod's own reason."""
    warnings: dict[str, str] = {}
    for event in events:
        message = (event.message or "").removeprefix("(combined from similar events): ")
        if event.type == "Warning" and not _REASON_ONLY.fullmatch(message):
            warnings.setdefault(
                f"{event.reason}{message[:EVENT_KEY_LIMIT]}", f"event {event.reason}: {message[:MESSAGE_LIMIT]}"
            )
    return list(warnings.values())[-MAX_EVENTS:]


def plan_rollback(failures: Sequence[FailedRollout], live_images: Mapping[str, str]) -> RollbackPlan:
    """Return the images that failed services roll back to; a service without an older image gets a note instead."""
    images: dict[str, str] = {}
    notes: list[str] = []
    for failure in failures:
        live_image = live_images.get(failure.service)
        if live_image is None:
            notes.append(f"{failure.service} was never live here, so it cannot be rolled back: it stays as it is.")
        elif live_image.partition("@")[2] == failure.image.partition("@")[2]:
            notes.append(f"Only the settings of {failure.service} changed: its old pods still serve.")
        else:
            images[failure.service] = live_image
    return RollbackPlan(images, tuple(notes))


def apply_rollback(plan: RollbackPlan, redeploy: Redeploy) -> list[str]:
    """Roll back, and return notes on the result; a failed rollback becomes a note, not an error."""
    if not plan.images:
        return []
    try:
        redeploy(plan.images)
    except SlipwayError as error:
        names = ", ".join(plan.images)
        return [f"{names} could not be rolled back: {error.message}", *error.detail.splitlines()]
    return [
        f"{name} runs {shorten_image(ref).rpartition(':')[2]} again, as before." for name, ref in plan.images.items()
    ]


def rollout_error(
    stack: str, failures: Sequence[FailedRollout], plan: RollbackPlan, rollback_notes: Sequence[str]
) -> SlipwayError:
    """Return one error for all services that failed."""
    first, *others = failures
    reason = _REASON_ALIASES.get(first.problem.reason, first.problem.reason)
    lines = list(first.lines)
    for other in others:
        lines += [f"Also: {summarize_failure(other, stack)}", *other.lines]
    return SlipwayError(
        summarize_failure(first, stack),
        detail="\n".join([*lines, *plan.notes, *rollback_notes]),
        remedy=REASON_REMEDIES.get(reason, "Fix that and run it again.").format(service=first.service),
        log=first.log,
    )


def summarize_failure(failure: FailedRollout, stack: str) -> str:
    """Return what failed and why, in one sentence."""
    meaning = REASON_MEANINGS.get(failure.problem.reason, "its container does not start")
    return f"{failure.service} could not start in {stack}: {meaning} ({failure.problem.reason})"


def stuck_namespace_error(name: str, namespace: Namespace, seconds: float) -> SlipwayError:
    """Return the error for a namespace that cannot be deleted."""
    blockers = [
        condition.message
        for condition in namespace.status.conditions
        if condition.status == "True" and condition.message
    ]
    return SlipwayError(
        f"the namespace {name} is still being deleted after {seconds:.0f} s",
        detail="\n".join(blockers),
        remedy="Find what blocks it, most often a finalizer whose controller is gone: "
        f"`kubectl get all -n {name}` shows what is left.",
    )


def _newest_unready_pod(snapshot: ClusterSnapshot, service: str) -> str:
    unready = [
        pod.metadata.name
        for pod in pod_status.active_pods(snapshot.pods.get(service, []))
        if not pod_status.is_ready(pod)
    ]
    return unready[-1] if unready else ""
