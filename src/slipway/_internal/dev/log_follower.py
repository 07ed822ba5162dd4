"""Follows the logs of a stack's services while they run, each line with its service's name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import engine

OnLine = Callable[[str, str], None]
"""Told a service's name and one line of its log."""


RESTART_WAIT_SECONDS = 1.0


class LogFollower:
    """The logs that are followed. A follower ends with its container; none keeps the process from ending."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line = on_line
        self._followed: set[str] = set()
        self._stopped = False

    def follow(self, service: str, container: str, *, tail: int | None = None) -> None:
        """Follow a container's log, from its last `tail` lines on; without it, from its beginning."""
        if container not in self._followed:
            self._followed.add(container)
            threading.Thread(target=self._follow, args=(service, container, tail), daemon=True).start()

    def stop(self) -> None:
        """Tell nothing more."""
        self._stopped = True

    def _follow(self, service: str, container: str, tail: int | None) -> None:
        with suppress(SlipwayError):  # it has gone, or the engine has
            while not self._stopped:
                for line in engine.read_logs(container, tail=tail, follow=True):
                    if self._stopped:
                        return
                    self._on_line(service, line)
                time.sleep(RESTART_WAIT_SECONDS)
                if not engine.is_running(container):
                    break
                tail = 0  # it has crashed, and the engine has started it again
        self._followed.discard(container)
