"""Follows the logs of a stack's services while they run, each line told with its service's name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from slipway.model.errors import SlipwayError
from slipway.run import engine

Line = Callable[[str, str], None]
"""Told a service's name and one line of its log."""


RESTART_SECONDS = 1.0


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
            while not self._over:
                for line in engine.logs(container, tail=tail, follow=True):
                    if self._over:
                        return
                    self._on_line(service, line)
                time.sleep(RESTART_SECONDS)
                if not engine.runs(container):
                    break
                tail = 0  # it has crashed, and the engine has started it again
        self._followed.discard(container)
