"""The logs of a service's pods: the last lines, and with `follow` new lines, including those of new pods."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

from slipway._internal.commands import kubectl
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.stack import Stack, how_to_deploy
from slipway._internal.run import process
from slipway._internal.run.cluster import Cluster
from slipway._internal.run.kubernetes_objects import Pod
from slipway._internal.targets.kubernetes import pod_status
from slipway._internal.targets.kubernetes.snapshot import ClusterSnapshot

POD_POLL_SECONDS = 3.0
"""How often to look for new pods and restarted containers."""
ALL_LINES = -1
ContainerRun = tuple[str, int]
"""One run of a pod's container: the pod, and the container's restart count."""


def read_pod_logs(
    cluster: Cluster, take_snapshot: Callable[[], ClusterSnapshot], stack: Stack, service: str, follow: bool, tail: int
) -> Iterator[str]:
    """Yield the lines of a service's pods, each with its pod's name.

    Raises:
        ConfigError: it has no pod.
        SlipwayError: the cluster does not answer.
    """
    snapshot = take_snapshot()
    selected = select_pods(snapshot.pods.get(service, []))
    if not selected:
        raise no_pod_error(snapshot, stack, service)
    for pod in selected:
        yield from read_crashed_run(cluster, pod, service, tail)
    if follow:
        yield from PodLogFollower(cluster, service, tail).follow_lines(
            lambda: select_pods(take_snapshot().pods.get(service, [])), selected
        )
        return
    job = selected[-1].metadata.labels.get(kubectl.JOB_LABEL)
    labels = kubectl.label_selector(
        selected[-1].metadata.labels.get(kubectl.PART_OF_LABEL, ""), stack.name, service, job
    )
    yield from cluster.read_logs(labels, service, tail=tail, most=len(selected))


def select_pods(candidates: list[Pod]) -> list[Pod]:
    """Return the active pods; if there are none, as for a finished job, the newest pod."""
    newest = sorted(candidates, key=lambda pod: str(pod.metadata.creation_timestamp))[-1:]
    return pod_status.active_pods(candidates) or newest


def read_crashed_run(cluster: Cluster, pod: Pod, service: str, tail: int) -> Iterator[str]:
    """Yield the last lines of the crashed run if its container was restarted and runs now.

    While the container waits for its restart, Kubernetes shows the crashed run by default.
    """
    for status in pod.status.container_statuses:
        terminated = status.last_state.terminated
        if status.name == service and status.state.running and not status.ready and terminated and terminated.exit_code:
            with suppress(SlipwayError):  # the log was deleted
                yield from cluster.read_pod_logs(pod.metadata.name, service, tail=tail, previous=True, prefix=True)


def no_pod_error(snapshot: ClusterSnapshot, stack: Stack, service: str) -> ConfigError:
    """Return the error for a service without a pod."""
    hint = f"See `invoke status --stack {stack.name}`"
    if service in snapshot.cron_jobs:
        return ConfigError(f"{service} has not run yet in {stack.name}", remedy=f"{hint} for its state.")
    if service in snapshot.deployments:
        problem = snapshot.find_problem(service)
        reason = f": {problem.reason}: {problem.message}" if problem else ""
        return ConfigError(f"{service} has no pod in {stack.name}{reason}", remedy=f"{hint} for its state.")
    return ConfigError(
        f"{service} does not run in {stack.name}",
        remedy=f"Start it with `{how_to_deploy(stack.name)}`, or see what runs: `invoke status --stack {stack.name}`.",
    )


class PodLogFollower:
    """Follows a service's pods with one thread and one kubectl per container run."""

    def __init__(self, cluster: Cluster, service: str, tail: int) -> None:
        self._cluster, self._service, self._tail = cluster, service, tail
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ended_at: dict[ContainerRun, datetime | None] = {}

    def follow_lines(self, find_pods: Callable[[], list[Pod]], first_pods: list[Pod]) -> Iterator[str]:
        """Yield lines as they arrive until the caller stops; then end everything that was started."""
        try:
            self._start_following(first_pods, self._tail)
            while True:
                yield from self._lines_until(time.monotonic() + POD_POLL_SECONDS)
                with suppress(SlipwayError):  # the cluster does not answer; try again later
                    self._start_following(find_pods(), ALL_LINES)
        finally:
            process.end_all_children()

    def _lines_until(self, end: float) -> Iterator[str]:
        while (remaining := end - time.monotonic()) > 0:
            with suppress(queue.Empty):
                yield self._lines.get(timeout=remaining)

    def _start_following(self, candidates: list[Pod], tail: int) -> None:
        for pod in candidates:
            for status in pod.status.container_statuses:
                run = pod.metadata.name, status.restart_count
                is_known = run in self._ended_at
                if status.name != self._service or not status.state.running or (is_known and not self._ended_at[run]):
                    continue
                since = self._ended_at.get(run)  # the connection broke while the container kept running
                self._ended_at[run] = None
                threading.Thread(target=self._follow, args=(run, tail, since), daemon=True).start()

    def _follow(self, run: ContainerRun, tail: int, since: datetime | None) -> None:
        with suppress(SlipwayError):
            for line in self._cluster.follow_logs(run[0], self._service, tail=tail, since=since):
                self._lines.put(line)
        self._ended_at[run] = datetime.now(UTC)
