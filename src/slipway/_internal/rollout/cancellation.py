"""Stops a deployment's waiting when the user interrupts it."""

from __future__ import annotations

import threading

from slipway._internal.model.errors import SlipwayError


class Cancelled(SlipwayError):
    """The user interrupted the deployment."""

    def __init__(self) -> None:
        super().__init__("interrupted")


class CancellationToken:
    """Stops one call's waiting when the user interrupts it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Stop the waiting."""
        self._event.set()

    def sleep(self, seconds: float) -> None:
        """Wait; raise Cancelled as soon as the user interrupts."""
        if self._event.wait(seconds):
            raise Cancelled
