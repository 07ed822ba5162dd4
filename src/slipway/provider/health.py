"""Waits until a container can take over: healthy by the image's own check, and reached at its port."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from slipway.content.healthcheck import Healthcheck
from slipway.model.errors import SlipwayError
from slipway.model.masking import mask
from slipway.provider import reach
from slipway.provider.kind import Stop
from slipway.run import engine

PAUSE = 0.15  # seconds between two probes, where the check has no start interval of its own
LISTEN, LISTEN_PAUSE = 1.0, 0.02  # seconds to wait for its port, and between two looks
REFUSED = 5.0  # seconds to wait for it where the container can be reached, and refuses
SETTLE = 2.0  # seconds that a container without a health check must stay up
LOOPBACK = 5.0  # seconds that its port may be open on loopback only, before that is taken for what it will stay
MOST_PATIENT = 5.0
LATE = 3  # times its timeout, until a check that hangs is not waited for any longer before the next
SLOW = "See its log. Where it only needs longer, give it more seconds: `start-timeout` in its service.toml."


class Unhealthy(SlipwayError):
    """A container ended, did not become healthy in time, or cannot be reached."""


def wait(container: Any, check: Healthcheck, timeout: float | None, stop: Stop, port: int | None = None) -> None:
    """Return as soon as the container is healthy, and its port answers on the stack's network.

    Engines before 25 have no start interval: their own first check comes after a whole interval, often 30 s.

    Args:
        container: a started container of the Docker SDK.
        check: its health check; without a command it must stay up for two seconds.
        timeout: how many seconds it may take; without it, what the check says, and 60 at least.
        stop: ends the waiting.
        port: where it listens, if it does.

    Raises:
        Unhealthy: it ended, the time is over, or it cannot be reached; the detail has the health check's last words.
        Cancelled: the user interrupted.
    """
    began, seconds = time.monotonic(), check.start_seconds(timeout)
    if check.command:
        if port:
            _until_it_listens(container, port, stop)
        _until_healthy(container, check, began, seconds, stop)
    if port:
        _until_reached(container, port, began, seconds, stop)
    while not check.command and time.monotonic() < began + SETTLE:
        _still_up(container)
        stop.sleep(PAUSE)
    _still_up(container)


def _until_healthy(container: Any, check: Healthcheck, began: float, seconds: float, stop: Stop) -> None:
    said = ""
    while True:
        _still_up(container, said)
        left = began + seconds - time.monotonic()
        if left <= 0:
            raise Unhealthy(f"it did not become healthy within {seconds:.0f} s", remedy=SLOW, detail=_quoted(said))
        started = time.monotonic()
        probe = _probe(container, list(check.command), min(left, check.timeout * patience()))
        if probe.ok:
            return
        said = probe.output
        # On a busy machine a probe takes long; waiting as long again leaves the machine to those who start.
        pause = max(check.start_interval or PAUSE, time.monotonic() - started)
        stop.sleep(max(0, min(pause, began + seconds - time.monotonic())))
        # One that has not ended cannot be ended from here: another beside it would only make both slower.
        _until(probe.over.is_set, min(started + LATE * check.timeout, began + seconds), container, stop)


def _until(done: Callable[[], bool], end: float, container: Any, stop: Stop) -> None:
    while not done() and time.monotonic() < end:
        _still_up(container)
        stop.sleep(PAUSE)


def patience() -> float:
    """Return how many times as long a check may take as it says: more than once on a machine that is overloaded.

    Where four want a processor that one can have, a check takes four times as long, and is as good as ever.
    """
    if not engine.address().startswith("unix://"):
        return 1
    return min(MOST_PATIENT, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def _until_it_listens(container: Any, port: int, stop: Stop) -> None:
    """Wait a moment for the port: a health check before it opens only takes time from the program that starts.

    Where this machine cannot ask, the health checks begin at once, that is all.
    """
    container.reload()
    address = reach.Address.of(container)
    began, refused = time.monotonic(), False
    while address and address.here:
        answer = address.knock(port, LISTEN_PAUSE)
        if answer == "open":
            return
        refused = answer == "refused"  # once it has ended, nobody is there to refuse
        if time.monotonic() - began > (REFUSED if refused else LISTEN):
            return
        stop.sleep(LISTEN_PAUSE)


def _until_reached(container: Any, port: int, began: float, seconds: float, stop: Stop) -> None:
    """Wait until the port answers where the gateway will ask it, which a health check inside the container may not."""
    container.reload()
    address = reach.Address.of(container)
    if address is None:
        _still_up(container)
        raise Unhealthy(f"its port {port} cannot be asked: it has no address on the stack's network")
    well = time.monotonic()
    with reach.asking(container, address, port, stop) as answers:
        while not answers():
            _still_up(container)
            now = time.monotonic()
            if now > well + LOOPBACK:
                found = reach.listening(container, address)
                if now > began + seconds or reach.on_loopback_only(found, port):
                    raise _unreached(port, found)
            stop.sleep(PAUSE)


def _unreached(port: int, found: list[tuple[str, int]]) -> Unhealthy:
    remedy = f"Let it listen on 0.0.0.0, port {port}; it is told which by PORT, and `port` in its service.toml."
    others = sorted({each for _, each in found if each != port})
    if reach.on_loopback_only(found, port):
        remedy = f"Let it listen on 0.0.0.0:{port}: on a loopback address nobody outside its container reaches it."
    elif others:
        ports = " or ".join(map(str, others))
        remedy = f"Set `port` in its service.toml to {ports}, or let it listen on {port}, which PORT tells it."
    places = ", ".join(f"[{address}]:{each}" if ":" in address else f"{address}:{each}" for address, each in found)
    return Unhealthy(
        f"it runs, but its port {port} does not answer on the stack's network",
        remedy=remedy,
        detail=f"it listens on {places}, not on 0.0.0.0:{port}" if places else "",
    )


def _probe(container: Any, command: list[str], seconds: float) -> engine.Probe:
    try:
        return engine.probe(container.id, command, seconds)
    except engine.sdk().errors.APIError as error:
        if error.status_code == 409:  # it has just ended; the next look at it says how
            return engine.Probe(False, "")
        raise


def _still_up(container: Any, said: str = "") -> None:
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
