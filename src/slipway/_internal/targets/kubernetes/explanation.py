"""Why a rollout failed, told from its pods; and how the services go back to the images that they had."""

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
"""How many events stand in the error; how many lines a log's file has."""
MESSAGE_LIMIT, EVENT_KEY_LIMIT = 400, 60
"""Letters of an event that are shown, and by which two are taken for the same."""
LOG_UNAVAILABLE = "unable to retrieve container logs"
"""What a node says instead of a log that it has cleared away."""
_REASON_ONLY = re.compile(r"Error: \w+")

REASON_MEANINGS = {
    "ImagePullBackOff": "its image cannot be pulled",
    "ErrImagePull": "its image cannot be pulled",
    "InvalidImageName": "its image's name is none",
    "CrashLoopBackOff": "its container ends as soon as it has started",
    "Error": "its container has ended",
    "OOMKilled": "its container needs more memory than it may have",
    "CreateContainerConfigError": "its container cannot be made",
    "CreateContainerError": "its container cannot be made",
    "RunContainerError": "its container cannot be started",
    "Unschedulable": "no node has room for it",
    "FailedCreate": "the cluster refuses its pods",
    "ProgressDeadlineExceeded": "it did not become ready in time",
}
REASON_REMEDIES = {
    "ImagePullBackOff": "See that the nodes reach the registry and may pull from it: its address in workspace.toml, "
    "and the login that the stack gives the cluster.",
    "CrashLoopBackOff": "Mend what its last lines say.",
    "OOMKilled": "Raise `memory` under [resources] in services/{service}/service.toml, or make it need less.",
    "CreateContainerConfigError": "See that all that it mounts and reads is there: `secrets` in "
    "services/{service}/service.toml, and the stack's configuration.",
    "Unschedulable": "Ask for less under [resources] in services/{service}/service.toml, or add a node.",
    "FailedCreate": "What the cluster refuses stands above: a quota, or an admission policy.",
    "ProgressDeadlineExceeded": "Its health check did not succeed: see its last lines, and `port` and the HEALTHCHECK.",
}
_REASON_ALIASES = {
    "ErrImagePull": "ImagePullBackOff",
    "InvalidImageName": "ImagePullBackOff",
    "Error": "CrashLoopBackOff",
}


@dataclass(frozen=True)
class FailedRollout:
    """One service whose rollout failed: the image that it was to run, what is wrong, and the lines that show it."""

    service: str
    image: str
    problem: PodProblem
    lines: tuple[str, ...]
    log: Path | None


@dataclass(frozen=True)
class RollbackPlan:
    """Where the failed services go: images to go back to, and what is to say of those that do not."""

    images: Mapping[str, str]
    notes: tuple[str, ...]


def inspect_failed_rollout(
    cluster: Cluster, workspace: Workspace, stack: Stack, service: str, snapshot: ClusterSnapshot
) -> FailedRollout:
    """Look at a service whose rollout failed, while its pods are there; what cannot be read is left out."""
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
    """Return the last lines of a pod; of the run that crashed, where its container runs again since.

    While the container waits to be started again, Kubernetes shows that run without being asked for it.
    """
    for previous in (problem.restarted, not problem.restarted):
        with suppress(SlipwayError):
            lines = cluster.read_pod_logs(problem.pod, service, tail=LOG_FILE_LINES, previous=previous)
            if lines and not lines[0].startswith(LOG_UNAVAILABLE):
                return lines
    return []


def format_warnings(events: Sequence[Event]) -> list[str]:
    """Return the last warnings, each thing once; those that only repeat the pod's own reason are left out."""
    warnings: dict[str, str] = {}
    for event in events:
        message = (event.message or "").removeprefix("(combined from similar events): ")
        if event.type == "Warning" and not _REASON_ONLY.fullmatch(message):
            warnings.setdefault(
                f"{event.reason}{message[:EVENT_KEY_LIMIT]}", f"event {event.reason}: {message[:MESSAGE_LIMIT]}"
            )
    return list(warnings.values())[-MAX_EVENTS:]


def plan_rollback(failures: Sequence[FailedRollout], live_images: Mapping[str, str]) -> RollbackPlan:
    """Return which images the failed services go back to; none where there is none, or where it is the same."""
    images: dict[str, str] = {}
    notes: list[str] = []
    for failure in failures:
        live_image = live_images.get(failure.service)
        if live_image is None:
            notes.append(
                f"{failure.service} was never live here, so there is nothing to go back to: it stays as it is."
            )
        elif live_image.partition("@")[2] == failure.image.partition("@")[2]:
            notes.append(f"Only the settings of {failure.service} changed: its earlier pods serve on.")
        else:
            images[failure.service] = live_image
    return RollbackPlan(images, tuple(notes))


def apply_rollback(plan: RollbackPlan, redeploy: Redeploy) -> list[str]:
    """Go back, and return what there is to say of it: also where it cannot be done, for that is not the error."""
    if not plan.images:
        return []
    try:
        redeploy(plan.images)
    except SlipwayError as error:
        names = ", ".join(plan.images)
        return [f"{names} could not be taken back to what ran before: {error.message}", *error.detail.splitlines()]
    return [
        f"{name} runs {shorten_image(ref).rpartition(':')[2]} again, as before." for name, ref in plan.images.items()
    ]


def rollout_error(
    stack: str, failures: Sequence[FailedRollout], plan: RollbackPlan, rollback_notes: Sequence[str]
) -> SlipwayError:
    """Return the error that tells of all the services that failed."""
    first, *others = failures
    reason = _REASON_ALIASES.get(first.problem.reason, first.problem.reason)
    lines = list(first.lines)
    for other in others:
        lines += [f"Also: {summarize_failure(other, stack)}", *other.lines]
    return SlipwayError(
        summarize_failure(first, stack),
        detail="\n".join([*lines, *plan.notes, *rollback_notes]),
        remedy=REASON_REMEDIES.get(reason, "Mend that and run it again.").format(service=first.service),
        log=first.log,
    )


def summarize_failure(failure: FailedRollout, stack: str) -> str:
    """Return in one sentence what failed and why."""
    meaning = REASON_MEANINGS.get(failure.problem.reason, "its container does not start")
    return f"{failure.service} could not start in {stack}: {meaning} ({failure.problem.reason})"


def stuck_namespace_error(name: str, namespace: Namespace, seconds: float) -> SlipwayError:
    """Return the error for a namespace that does not go."""
    blockers = [
        condition.message
        for condition in namespace.status.conditions
        if condition.status == "True" and condition.message
    ]
    return SlipwayError(
        f"the namespace {name} is still going after {seconds:.0f} s",
        detail="\n".join(blockers),
        remedy="Something in it holds it, most often a finalizer whose controller is gone: "
        f"`kubectl get all -n {name}` shows what is left.",
    )


def _newest_unready_pod(snapshot: ClusterSnapshot, service: str) -> str:
    unready = [
        pod.metadata.name
        for pod in pod_status.active_pods(snapshot.pods.get(service, []))
        if not pod_status.is_ready(pod)
    ]
    return unready[-1] if unready else ""
