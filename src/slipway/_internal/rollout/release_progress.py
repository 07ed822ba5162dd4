"""Passes on for how long a release command has run, to whoever shows the deploy's progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PROGRESS_SECONDS = 1.0
OnProgress = Callable[[str, float], None]
"""Told a service, and for how many seconds its release command has run."""
_listeners: list[OnProgress] = []


@contextmanager
def watch_release_commands(on_progress: OnProgress) -> Iterator[None]:
    """Pass on the progress of release commands that this process runs, inside a `with` block."""
    _listeners.append(on_progress)
    try:
        yield
    finally:
        _listeners.remove(on_progress)


class Progress:
    """The progress of one service's release command, told about once a second."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._started_at = self._told_at = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started_at

    def tell(self) -> None:
        """Pass it on, unless that was done just now."""
        if time.monotonic() - self._told_at < PROGRESS_SECONDS:
            return
        self._told_at = time.monotonic()
        for listener in [*_listeners]:
            listener(self._service, self.seconds)
