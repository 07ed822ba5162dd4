"""The logs of a service's pods: their last lines, and with `follow` those that come, also of pods that come."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from slipway.commands import kubectl
from slipway.flows.places import pods
from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.stack import Stack, how_to_deploy
from slipway.run import process
from slipway.run.cluster import Cluster
from slipway.run.objects import Pod

if TYPE_CHECKING:
    from slipway.flows.places.kubernetes import Found

LOOK_SECONDS = 3.0
"""How often it is looked for new pods, and for containers that were started again."""
ALL = -1
Run = tuple[str, int]
"""One run of a pod's container: the pod, and how often the container was started again before."""


def lines(
    cluster: Cluster, look: Callable[[], Found], stack: Stack, service: str, follow: bool, tail: int
) -> Iterator[str]:
    """Yield the lines of a service's pods, each with its pod's name.

    Raises:
        ConfigError: it has no pod.
        SlipwayError: the cluster cannot be asked.
    """
    found = look()
    chosen = of_interest(found.pods.get(service, []))
    if not chosen:
        raise nothing(found, stack, service)
    for pod in chosen:
        yield from crashed(cluster, pod, service, tail)
    if follow:
        yield from Followed(cluster, service, tail).lines(lambda: of_interest(look().pods.get(service, [])), chosen)
        return
    job = chosen[-1].metadata.labels.get(kubectl.JOB)
    labels = kubectl.selector(chosen[-1].metadata.labels.get(kubectl.PART_OF, ""), stack.name, service, job)
    yield from cluster.logs(labels, service, tail=tail, most=len(chosen))


def of_interest(there: list[Pod]) -> list[Pod]:
    """Return the pods that are to stay; where there is none, as for a job that is done, the newest."""
    newest = sorted(there, key=lambda pod: str(pod.metadata.creation_timestamp))[-1:]
    return pods.alive(there) or newest


def crashed(cluster: Cluster, pod: Pod, service: str, tail: int) -> Iterator[str]:
    """Yield the last lines of the run that crashed, where its container runs again at this moment.

    Of one that waits to be started again, Kubernetes itself shows that run.
    """
    for status in pod.status.container_statuses:
        before = status.last_state.terminated
        if status.name == service and status.state.running and not status.ready and before and before.exit_code:
            with suppress(SlipwayError):  # it is cleared away
                yield from cluster.pod_logs(pod.metadata.name, service, tail=tail, previous=True, prefix=True)


def nothing(found: Found, stack: Stack, service: str) -> ConfigError:
    """Return the error for a service without a pod."""
    look = f"`invoke status --stack {stack.name}` shows what does"
    if service in found.jobs:
        return ConfigError(f"{service} has not run yet in {stack.name}", remedy=f"{look}, and when.")
    if service in found.deployments:
        trouble = found.trouble(service)
        why = f": {trouble.reason}: {trouble.message}" if trouble else ""
        return ConfigError(f"{service} has no pod in {stack.name}{why}", remedy=f"{look}, and why.")
    return ConfigError(
        f"{service} does not run in {stack.name}", remedy=f"{look}; `{how_to_deploy(stack.name)}` starts it."
    )


class Followed:
    """Follows a service's pods, a thread and a kubectl for each container's run."""

    def __init__(self, cluster: Cluster, service: str, tail: int) -> None:
        self._cluster, self._service, self._tail = cluster, service, tail
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._over: dict[Run, datetime | None] = {}

    def lines(self, look: Callable[[], list[Pod]], first: list[Pod]) -> Iterator[str]:
        """Yield lines as they come, until nobody wants more; then nothing that was started goes on."""
        try:
            self._begin(first, self._tail)
            while True:
                yield from self._some(time.monotonic() + LOOK_SECONDS)
                with suppress(SlipwayError):  # the cluster does not answer just now
                    self._begin(look(), ALL)
        finally:
            process.end_all()

    def _some(self, end: float) -> Iterator[str]:
        while (left := end - time.monotonic()) > 0:
            with suppress(queue.Empty):
                yield self._lines.get(timeout=left)

    def _begin(self, there: list[Pod], tail: int) -> None:
        for pod in there:
            for status in pod.status.container_statuses:
                run = pod.metadata.name, status.restart_count
                begun = run in self._over
                if status.name != self._service or not status.state.running or (begun and not self._over[run]):
                    continue
                since = self._over.get(run)  # the connection was cut while the container ran on
                self._over[run] = None
                threading.Thread(target=self._follow, args=(run, tail, since), daemon=True).start()

    def _follow(self, run: Run, tail: int, since: datetime | None) -> None:
        with suppress(SlipwayError):
            for line in self._cluster.follow(run[0], self._service, tail=tail, since=since):
                self._lines.put(line)
        self._over[run] = datetime.now(UTC)
