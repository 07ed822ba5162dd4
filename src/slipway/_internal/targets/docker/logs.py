"""The logs of a service with several containers: each line has its container's name."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import engine


def read_replica_logs(containers: Sequence[engine.ContainerSummary], *, tail: int, follow: bool) -> Iterator[str]:
    """Yield the last lines of each container; with `follow`, new ones of all as they come, until all have ended.

    Raises:
        SlipwayError: the engine does not answer.
    """
    if not follow:
        for container in containers:
            for line in engine.read_logs(container.id, tail=tail):
                yield _prefixed(container, line)
        return
    lines: queue.SimpleQueue[str | SlipwayError | None] = queue.SimpleQueue()

    def read(container: engine.ContainerSummary) -> None:
        try:
            for line in engine.read_logs(container.id, tail=tail, follow=True):
                lines.put(_prefixed(container, line))
            lines.put(None)
        except SlipwayError as error:
            lines.put(error)

    for container in containers:
        threading.Thread(target=read, args=(container,), daemon=True).start()
    remaining = len(containers)
    while remaining:
        told = lines.get()
        if isinstance(told, SlipwayError):
            raise told
        if told is None:
            remaining -= 1
        else:
            yield told


def _prefixed(container: engine.ContainerSummary, line: str) -> str:
    return f"[{container.resource}] {line}"
