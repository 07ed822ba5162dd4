"""Argument lists for kubectl, the door to a cluster for all that Pulumi does not do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

REQUEST_SECONDS = 20
"""How long one answer of the API server may take."""
NAME, PART_OF, STACK = "app.kubernetes.io/name", "app.kubernetes.io/part-of", "slipway.stack"
"""The labels that each object of a stack has: its service, its workspace, its stack."""
JOB = "batch.kubernetes.io/job-name"


@dataclass(frozen=True)
class Where:
    """Which cluster, and which namespace in it; what is None is what kubectl itself takes."""

    namespace: str
    kubeconfig: str | None = None
    context: str | None = None


def selector(workspace: str, stack: str, service: str | None = None, job: str | None = None) -> str:
    """Return the selector of a stack's objects, of one service's, or of the pods of one job."""
    labels = {PART_OF: workspace, STACK: stack, NAME: service, JOB: job}
    return ",".join(f"{label}={value}" for label, value in labels.items() if value)


def get(program: Path, where: Where, kinds: Sequence[str], labels: str) -> list[str]:
    """Return how objects of some kinds are listed as JSON."""
    return [*_start(program, where), "get", ",".join(kinds), f"--selector={labels}", "--output=json"]


def find(program: Path, where: Where, kind: str, name: str) -> list[str]:
    """Return how one object is read as JSON; kubectl prints nothing where it is not there."""
    return [*_start(program, where), "get", kind, name, "--ignore-not-found", "--output=json"]


def events(program: Path, where: Where, kind: str, name: str) -> list[str]:
    """Return how what happened to one object is read as JSON."""
    chosen = f"--field-selector=involvedObject.kind={kind},involvedObject.name={name}"
    return [*_start(program, where), "get", "events", chosen, "--output=json"]


def logs(program: Path, where: Where, labels: str, container: str, *, tail: int, most: int) -> list[str]:
    """Return how the last lines of all chosen pods are read, `most` pods at the same time; one without any is fine."""
    return [
        *_start(program, where),
        "logs",
        f"--selector={labels}",
        f"--container={container}",
        f"--tail={tail}",
        f"--max-log-requests={max(most, 1)}",
        "--prefix",
        "--ignore-errors",
    ]


def pod_logs(
    program: Path, where: Where, pod: str, container: str, *, tail: int, previous: bool = False, prefix: bool = False
) -> list[str]:
    """Return how the last lines of one pod are read; `previous`: of the run of its container before this one."""
    found = [*_start(program, where), "logs", pod, f"--container={container}", f"--tail={tail}"]
    return [*found, *(["--previous"] if previous else []), *(["--prefix"] if prefix else [])]


def follow(
    program: Path, where: Where, pod: str, container: str, *, tail: int, since: datetime | None = None
) -> list[str]:
    """Return how a pod's log is followed until its container ends; `since` leaves out what is older."""
    words = ["logs", pod, f"--container={container}", f"--tail={tail}", "--prefix", "--follow"]
    words += [f"--since-time={since.isoformat(timespec='seconds')}"] if since else []
    return [*_start(program, where, seconds=0), *words]


def _start(program: Path, where: Where, seconds: int = REQUEST_SECONDS) -> list[str]:
    return [
        str(program),
        *([f"--kubeconfig={where.kubeconfig}"] if where.kubeconfig else []),
        *([f"--context={where.context}"] if where.context else []),
        f"--namespace={where.namespace}",
        f"--request-timeout={seconds}s" if seconds else "--request-timeout=0",
    ]
