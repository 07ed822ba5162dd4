"""Follows the logs of a stack's services while they run, each line told with its service's name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from slipway.model.errors import SlipwayError
from slipway.run import engine

Line = Callable[[str, str], None]
"""Told a service's name and one line of its log."""


class Tails:
    """The logs that are followed. A follower ends with its container; none keeps the process from ending."""

    def __init__(self, on_line: Line) -> None:
        self._on_line = on_line
        self._followed: set[str] = set()
        self._over = False

    def follow(self, service: str, container: str, *, tail: int | None = None) -> None:
        """Follow a container's log, from its last `tail` lines on; without it, from its beginning."""
        if container not in self._followed:
            self._followed.add(container)
            threading.Thread(target=self._follow, args=(service, container, tail), daemon=True).start()

    def stop(self) -> None:
        """Tell nothing more."""
        self._over = True

    def _follow(self, service: str, container: str, tail: int | None) -> None:
        with suppress(SlipwayError):  # it has gone, or the engine has
            for line in engine.logs(container, tail=tail, follow=True):
                if self._over:
                    return
                self._on_line(service, line)
        self._followed.discard(container)
