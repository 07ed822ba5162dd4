"""Waits until a container is healthy, by the image's own health check, run more often."""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

from slipway.model.errors import SlipwayError
from slipway.model.masking import mask
from slipway.provider.kind import Stop
from slipway.run import engine

PAUSE = 0.15  # seconds between two probes
LISTEN, LISTEN_PAUSE = 1.0, 0.02  # seconds to wait for its port, and between two looks
REFUSED = 5.0  # seconds to wait for it where the container can be reached, and refuses
SETTLE = 2.0  # seconds that a container without a health check must stay up


class Unhealthy(SlipwayError):
    """A container ended, or did not become healthy in time."""


def wait(container: Any, command: list[str], seconds: float, stop: Stop, port: int | None = None) -> None:
    """Return as soon as the container is healthy.

    Engines before 25 have no start interval: their own first check comes after a whole interval, often 30 s.

    Args:
        container: a started container of the Docker SDK.
        command: its health check; without one it must stay up for two seconds.
        seconds: how long it may take.
        stop: ends the waiting.
        port: where it will listen, if it does.

    Raises:
        Unhealthy: it ended, or the time is over; the detail has the health check's last words.
        Cancelled: the user interrupted.
    """
    deadline = time.monotonic() + (seconds if command else SETTLE)
    said = ""
    if port and command:
        _until_it_listens(container, port, stop)
    while True:
        _still_up(container, said)
        left = deadline - time.monotonic()
        if not command and left <= 0:
            return
        if left <= 0:
            raise Unhealthy(f"it did not become healthy within {seconds:.0f} s", detail=_quoted(said))
        started = time.monotonic()
        if command:
            probe = _probe(container, command, left)
            if probe.ok:
                return
            said = probe.output
        # On a busy machine a probe takes long; waiting as long again leaves the machine to those who start.
        stop.sleep(max(PAUSE, time.monotonic() - started))


def _until_it_listens(container: Any, port: int, stop: Stop) -> None:
    """Wait a moment for the port: a health check before it opens only takes time from the program that starts.

    Containers can be reached by their addresses only from the engine's own machine, and not on every system: where
    nothing is ever heard, the health checks begin a moment later, that is all.
    """
    container.reload()
    networks = container.attrs["NetworkSettings"]["Networks"].values()
    address = next((each["IPAddress"] for each in networks if each["IPAddress"]), "")
    began, refused = time.monotonic(), False
    while address and sys.platform == "linux" and engine.address().startswith("unix://"):
        try:
            with socket.create_connection((address, port), timeout=LISTEN_PAUSE):
                return
        except OSError as error:
            refused = isinstance(error, ConnectionRefusedError)  # once it has ended, nobody is there to refuse
        if time.monotonic() - began > (REFUSED if refused else LISTEN):
            return
        stop.sleep(LISTEN_PAUSE)


def _probe(container: Any, command: list[str], seconds: float) -> engine.Probe:
    try:
        return engine.probe(container.id, command, seconds)
    except engine.sdk().errors.APIError as error:
        if error.status_code == 409:  # it has just ended; the next look at it says how
            return engine.Probe(False, "")
        raise


def _still_up(container: Any, said: str) -> None:
    container.reload()
    state = container.attrs["State"]
    if state["Running"] and not state["Restarting"]:
        return
    how = f"it ended with exit code {state['ExitCode']}"
    if state["OOMKilled"]:
        how = "it ran out of the memory it may use and was killed"
    elif state["Error"]:
        how += f" ({state['Error']})"
    raise Unhealthy(how, detail=_quoted(said))


def _quoted(said: str) -> str:
    return f"health check: {mask(said)[-500:]}" if said else ""
