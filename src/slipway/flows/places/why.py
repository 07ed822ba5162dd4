"""Why a rollout failed, told from its pods; and how the services go back to the images that they had."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.flows.logs import logs_of
from slipway.flows.places import Again, pods
from slipway.flows.places.pods import Trouble
from slipway.flows.status import short
from slipway.model.errors import SlipwayError
from slipway.model.files import PRIVATE, write_atomically
from slipway.model.masking import mask
from slipway.run.objects import Event, Namespace

if TYPE_CHECKING:
    from slipway.flows.places.kubernetes import Found, Kubernetes

TAIL, EVENTS, WHOLE = 15, 4, 5000
"""How many lines of a log and how many events stand in the error; how many lines its file has."""
LIMIT, ALIKE = 400, 60
"""Letters of an event that are shown, and by which two are taken for the same."""
CLEARED = "unable to retrieve container logs"
"""What a node says instead of a log that it has cleared away."""
_REASON_ONLY = re.compile(r"Error: \w+")

MEANINGS = {
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
REMEDIES = {
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
_SAME = {"ErrImagePull": "ImagePullBackOff", "InvalidImageName": "ImagePullBackOff", "Error": "CrashLoopBackOff"}


@dataclass(frozen=True)
class Case:
    """One service whose rollout failed: the image that it was to run, what is wrong, and the lines that show it."""

    service: str
    image: str
    trouble: Trouble
    lines: tuple[str, ...]
    log: Path | None


@dataclass(frozen=True)
class Back:
    """Where the failed services go: images to go back to, and what is to say of those that do not."""

    images: Mapping[str, str]
    notes: tuple[str, ...]


def case_of(place: Kubernetes, service: str, found: Found) -> Case:
    """Look at a service whose rollout failed, while its pods are there; what cannot be read is left out."""
    from slipway.flows.places.kubernetes import image_of

    trouble = found.trouble(service) or Trouble("ProgressDeadlineExceeded", "", _unready(found, service))
    said = f": {mask(trouble.message)}"[:LIMIT] if trouble.message else ""
    lines = [f"{trouble.pod or service}: {trouble.reason}{said}"]
    log: Path | None = None
    if trouble.pod:
        with suppress(SlipwayError):
            lines += shown(place.cluster.events("Pod", trouble.pod))
        whole = last_lines(place, service, trouble)
        if whole:
            log = logs_of(place.workspace) / f"{service}.{place.stack.name}.log"
            write_atomically(log, mask("\n".join(whole)) + "\n", mode=PRIVATE)
            lines += whole[-TAIL:]
    spec = found.deployments[service].spec.template.spec
    return Case(service, image_of(service, spec), trouble, tuple(lines), log)


def last_lines(place: Kubernetes, service: str, trouble: Trouble) -> list[str]:
    """Return the last lines of a pod; of the run that crashed, where its container runs again since.

    While the container waits to be started again, Kubernetes shows that run without being asked for it.
    """
    for previous in (trouble.again, not trouble.again):
        with suppress(SlipwayError):
            found = place.cluster.pod_logs(trouble.pod, service, tail=WHOLE, previous=previous)
            if found and not found[0].startswith(CLEARED):
                return found
    return []


def shown(events: Sequence[Event]) -> list[str]:
    """Return the last warnings, each thing once; those that only repeat the pod's own reason are left out."""
    told: dict[str, str] = {}
    for event in events:
        message = (event.message or "").removeprefix("(combined from similar events): ")
        if event.type == "Warning" and not _REASON_ONLY.fullmatch(message):
            told.setdefault(f"{event.reason}{message[:ALIKE]}", f"event {event.reason}: {message[:LIMIT]}")
    return list(told.values())[-EVENTS:]


def way_back(cases: Sequence[Case], live: Mapping[str, str]) -> Back:
    """Return which images the failed services go back to; none where there is none, or where it is the same."""
    images: dict[str, str] = {}
    notes: list[str] = []
    for case in cases:
        before = live.get(case.service)
        if before is None:
            notes.append(f"{case.service} was never live here, so there is nothing to go back to: it stays as it is.")
        elif before.partition("@")[2] == case.image.partition("@")[2]:
            notes.append(f"Only the settings of {case.service} changed: its earlier pods serve on.")
        else:
            images[case.service] = before
    return Back(images, tuple(notes))


def taken(back: Back, again: Again) -> list[str]:
    """Go back, and return what there is to say of it: also where it cannot be done, for that is not the error."""
    if not back.images:
        return []
    try:
        again(back.images)
    except SlipwayError as error:
        names = ", ".join(back.images)
        return [f"{names} could not be taken back to what ran before: {error.what}", *error.detail.splitlines()]
    return [f"{name} runs {short(ref).rpartition(':')[2]} again, as before." for name, ref in back.images.items()]


def told(place: Kubernetes, cases: Sequence[Case], back: Back, said: Sequence[str]) -> SlipwayError:
    """Return the error that tells of all the services that failed."""
    first, *others = cases
    reason = _SAME.get(first.trouble.reason, first.trouble.reason)
    lines = list(first.lines)
    for other in others:
        lines += [f"Also: {sentence(other, place.stack.name)}", *other.lines]
    return SlipwayError(
        sentence(first, place.stack.name),
        detail="\n".join([*lines, *back.notes, *said]),
        remedy=REMEDIES.get(reason, "Mend that and run it again.").format(service=first.service),
        log=first.log,
    )


def sentence(case: Case, stack: str) -> str:
    """Return in one sentence what failed and why."""
    meaning = MEANINGS.get(case.trouble.reason, "its container does not start")
    return f"{case.service} could not start in {stack}: {meaning} ({case.trouble.reason})"


def stuck(name: str, namespace: Namespace, seconds: float) -> SlipwayError:
    """Return the error for a namespace that does not go."""
    waits = [each.message for each in namespace.status.conditions if each.status == "True" and each.message]
    return SlipwayError(
        f"the namespace {name} is still going after {seconds:.0f} s",
        detail="\n".join(waits),
        remedy="Something in it holds it, most often a finalizer whose controller is gone: "
        f"`kubectl get all -n {name}` shows what is left.",
    )


def _unready(found: Found, service: str) -> str:
    there = [pod.metadata.name for pod in pods.alive(found.pods.get(service, [])) if not pods.is_ready(pod)]
    return there[-1] if there else ""
