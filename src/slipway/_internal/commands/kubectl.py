"""Argument lists for kubectl, which does everything on a cluster that Pulumi does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

REQUEST_SECONDS = 20
"""How long one answer of the API server may take."""
NAME_LABEL, PART_OF_LABEL, STACK_LABEL = "app.kubernetes.io/name", "app.kubernetes.io/part-of", "slipway.stack"
"""The labels that each object of a stack has: its service, its workspace, its stack."""
JOB_LABEL = "batch.kubernetes.io/job-name"
COMMAND_LABEL = "slipway.command"
"""The label of pods that run a user's command to its end: they serve nothing."""

RELEASE_LABEL = "slipway.release"
"""The label of jobs and pods that run a service's release command: a deploy made them, and they end with it."""


@dataclass(frozen=True)
class ClusterNamespace:
    """Which cluster, and which namespace in it; what is None is what kubectl itself takes."""

    namespace: str
    kubeconfig: str | None = None
    context: str | None = None


def label_selector(workspace: str, stack: str, service: str | None = None, job: str | None = None) -> str:
    """Return the selector of a stack's objects, of one service's, or of the pods of one job."""
    labels = {PART_OF_LABEL: workspace, STACK_LABEL: stack, NAME_LABEL: service, JOB_LABEL: job}
    return ",".join(f"{label}={value}" for label, value in labels.items() if value)


def get_objects(program: Path, cluster: ClusterNamespace, kinds: Sequence[str], labels: str) -> list[str]:
    """Return how objects of some kinds are listed as JSON."""
    return [*_base_argv(program, cluster), "get", ",".join(kinds), f"--selector={labels}", "--output=json"]


def get_object(program: Path, cluster: ClusterNamespace, kind: str, name: str) -> list[str]:
    """Return how one object is read as JSON; kubectl prints nothing where it is not there."""
    return [*_base_argv(program, cluster), "get", kind, name, "--ignore-not-found", "--output=json"]


def get_events(program: Path, cluster: ClusterNamespace, kind: str, name: str) -> list[str]:
    """Return how what happened to one object is read as JSON."""
    field_selector = f"--field-selector=involvedObject.kind={kind},involvedObject.name={name}"
    return [*_base_argv(program, cluster), "get", "events", field_selector, "--output=json"]


def logs(program: Path, cluster: ClusterNamespace, labels: str, container: str, *, tail: int, most: int) -> list[str]:
    """Return how the last lines of all chosen pods are read, `most` pods at the same time; one without any is fine."""
    return [
        *_base_argv(program, cluster),
        "logs",
        f"--selector={labels}",
        f"--container={container}",
        f"--tail={tail}",
        f"--max-log-requests={max(most, 1)}",
        "--prefix",
        "--ignore-errors",
    ]


def pod_logs(
    program: Path,
    cluster: ClusterNamespace,
    pod: str,
    container: str,
    *,
    tail: int,
    previous: bool = False,
    prefix: bool = False,
) -> list[str]:
    """Return how the last lines of one pod are read; `previous`: of the run of its container before this one."""
    argv = [*_base_argv(program, cluster), "logs", pod, f"--container={container}", f"--tail={tail}"]
    return [*argv, *(["--previous"] if previous else []), *(["--prefix"] if prefix else [])]


def follow_pod_logs(
    program: Path, cluster: ClusterNamespace, pod: str, container: str, *, tail: int, since: datetime | None = None
) -> list[str]:
    """Return how a pod's log is followed until its container ends; `since` leaves out what is older."""
    flags = ["logs", pod, f"--container={container}", f"--tail={tail}", "--prefix", "--follow"]
    flags += [f"--since-time={since.isoformat(timespec='seconds')}"] if since else []
    return [*_base_argv(program, cluster, seconds=0), *flags]


def exec_command(
    program: Path, cluster: ClusterNamespace, pod: str, container: str, command: Sequence[str], *, terminal: bool
) -> list[str]:
    """Return how a command is run in a container of a pod, joined to kubectl's own standard streams."""
    flags = ["exec", pod, f"--container={container}", "--stdin", *(["--tty"] if terminal else [])]
    return [*_base_argv(program, cluster, seconds=0), *flags, "--", *command]


def create_object(program: Path, cluster: ClusterNamespace) -> list[str]:
    """Return how an object is made whose JSON comes on standard input."""
    return [*_base_argv(program, cluster), "create", "--filename=-"]


def attach(program: Path, cluster: ClusterNamespace, pod: str, container: str, *, terminal: bool) -> list[str]:
    """Return how kubectl's own standard streams are joined to those of a container that runs."""
    flags = ["attach", pod, f"--container={container}", "--stdin", "--quiet", *(["--tty"] if terminal else [])]
    return [*_base_argv(program, cluster, seconds=0), *flags]


def whole_log(program: Path, cluster: ClusterNamespace, pod: str, container: str) -> list[str]:
    """Return how all that a container has written and will write is printed, until it ends."""
    return [*_base_argv(program, cluster, seconds=0), "logs", pod, f"--container={container}", "--follow"]


def delete_pod(program: Path, cluster: ClusterNamespace, name: str) -> list[str]:
    """Return how a pod is removed; one that is gone is fine."""
    return [*_base_argv(program, cluster), "delete", "pod", name, "--ignore-not-found", "--wait=false"]


def delete_claim(program: Path, cluster: ClusterNamespace, name: str) -> list[str]:
    """Return how a volume is removed with its data, once no pod has it."""
    return [*_base_argv(program, cluster), "delete", "persistentvolumeclaim", name, "--ignore-not-found"]


def delete_namespace(program: Path, cluster: ClusterNamespace) -> list[str]:
    """Return how the namespace is removed with all that is in it; its end is not waited for."""
    flags = ["--ignore-not-found", "--wait=false"]
    return [*_base_argv(program, cluster), "delete", "namespace", cluster.namespace, *flags]


def delete_job(program: Path, cluster: ClusterNamespace, name: str) -> list[str]:
    """Return how a job is removed with its pods; one that is gone is fine."""
    flags = ["--ignore-not-found", "--wait=false", "--cascade=foreground"]
    return [*_base_argv(program, cluster), "delete", "job", name, *flags]


def _base_argv(program: Path, cluster: ClusterNamespace, seconds: int = REQUEST_SECONDS) -> list[str]:
    return [
        str(program),
        *([f"--kubeconfig={cluster.kubeconfig}"] if cluster.kubeconfig else []),
        *([f"--context={cluster.context}"] if cluster.context else []),
        f"--namespace={cluster.namespace}",
        f"--request-timeout={seconds}s" if seconds else "--request-timeout=0",
    ]
