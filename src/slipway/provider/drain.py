"""Lets a container end: once its last request is answered, and no later than its time allows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from slipway.provider import nginx
from slipway.provider.kind import Stop
from slipway.provider.reach import Address
from slipway.run import engine

PAUSE = 0.05
QUIET = 1.0
"""Seconds without a connection after which none is to come, where NGINX still has others' requests in flight."""
STOP_SECONDS = 10.0
"""The least that a program has to end after its stop signal."""


def end(container: str, seconds: float, stop: Stop, *, port: int | None, remove: bool = True, name: str = "") -> None:
    """Let a container end that no new request is sent to, then remove it; what is gone already is fine.

    It gets its stop signal when its last request is answered, or `seconds` are over. From then on it has what is left
    of them to end, and ten seconds at least.

    Args:
        container: its id.
        seconds: its `drain`.
        stop: ends the waiting; what was begun goes on.
        port: where it takes requests, if it does.
        remove: False to keep it, stopped.
        name: its name, by which its volumes are found even if it is gone.

    Raises:
        Cancelled: the user interrupted.
    """
    began = time.monotonic()
    if port:
        wait(container, port, seconds, stop)
    grace = int(max(STOP_SECONDS, began + seconds - time.monotonic()))
    if remove:
        interruptibly(lambda: engine.remove(container, name=name, grace=grace), stop)
    else:
        interruptibly(lambda: engine.stop(container, grace), stop)


def wait(container: str, port: int, seconds: float, stop: Stop) -> None:
    """Return when a container's requests through the gateway have ended, or after so many seconds.

    NGINX tells that it still answers requests from before its last switch. Whether they are this container's is told by
    its connections, where this machine can see them.
    """
    began = quiet = time.monotonic()
    with engine.speaking():
        found = _running(container)
        if found is None:
            return
        address = Address.of(found)
        labels = found.labels
        while time.monotonic() < began + seconds:
            if not nginx.finishing(labels.get(engine.WORKSPACE, ""), labels.get(engine.STACK, "")):
                return
            if not (address and address.here) or address.connected(port):
                quiet = time.monotonic()
            if time.monotonic() > quiet + QUIET:
                return
            stop.sleep(PAUSE)


def interruptibly(work: Callable[[], None], stop: Stop) -> None:
    """Do work that cannot be interrupted; where the user does, leave it to itself."""
    errors: list[Exception] = []
    done = threading.Event()

    def carry_out() -> None:
        try:
            work()
        except Exception as error:  # handed to the caller below
            errors.append(error)
        done.set()

    threading.Thread(target=carry_out, daemon=True).start()
    while not done.wait(PAUSE):
        stop.sleep(0)
    if errors:
        raise errors[0]


def _running(container: str) -> Any:
    try:
        found = engine.client().containers.get(container)
    except engine.sdk().errors.NotFound:
        return None
    return found if found.attrs["State"]["Running"] else None
