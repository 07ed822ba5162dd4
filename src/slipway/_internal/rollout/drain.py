"""Stops a container once its last request is answered, or its drain time is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from slipway._internal.rollout import nginx
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.reachability import ContainerAddress
from slipway._internal.run import engine
from slipway._internal.run.background import Background

POLL_SECONDS = 0.05
QUIET_SECONDS = 1.0
"""Seconds without a connection after which no more are expected while NGINX finishes other containers' requests."""
MIN_STOP_SECONDS = 10.0
"""The minimum time that a program has to end after its stop signal."""


def drain_container(
    container: str,
    seconds: float,
    cancellation: CancellationToken,
    *,
    port: int | None,
    remove: bool = True,
    name: str = "",
) -> None:
    """Drain, stop and remove a container that receives no new requests; it may already be gone.

    It gets its stop signal when its last request is answered, or after `seconds`. Then it has the rest of that time to
    end, and at least ten seconds.

    Args:
        container: its id.
        seconds: its `drain`.
        cancellation: stops the waiting, but not the removal.
        port: the port that it receives requests on, if any.
        remove: False to only stop it.
        name: its name, to find its volumes even if it is gone.

    Raises:
        Cancelled: the user interrupted.
    """
    started_at = time.monotonic()
    if port:
        wait_for_requests(container, port, seconds, cancellation)
    grace = int(max(MIN_STOP_SECONDS, started_at + seconds - time.monotonic()))
    if remove:
        run_interruptibly(lambda: engine.remove_container(container, name=name, grace=grace), cancellation)
    else:
        run_interruptibly(lambda: engine.stop_container(container, grace), cancellation)


def wait_for_requests(container: str, port: int, seconds: float, cancellation: CancellationToken) -> None:
    """Return when a container's requests through the gateway have ended, or after `seconds`.

    NGINX shows that it still answers requests from before its last switch. The container's connections show whether
    they are its own, if this machine can see them.
    """
    started_at = last_active = time.monotonic()
    with engine.docker_errors():
        running = _find_running(container)
        if running is None:
            return
        address = ContainerAddress.of(running)
        labels = running.labels
        while time.monotonic() < started_at + seconds:
            if not nginx.has_requests_in_flight(
                labels.get(engine.WORKSPACE_LABEL, ""), labels.get(engine.STACK_LABEL, "")
            ):
                return
            if not (address and address.is_local) or address.count_connections(port):
                last_active = time.monotonic()
            if time.monotonic() > last_active + QUIET_SECONDS:
                return
            cancellation.sleep(POLL_SECONDS)


def run_interruptibly(work: Callable[[], None], cancellation: CancellationToken) -> None:
    """Do work that cannot be interrupted; if the user interrupts, let it continue in the background."""
    background = Background(work)
    while not background.wait(POLL_SECONDS):
        cancellation.sleep(0)
    background.result()


def _find_running(container: str) -> Any:
    try:
        details = engine.client().containers.get(container)
    except engine.load_sdk().errors.NotFound:
        return None
    return details if details.attrs["State"]["Running"] else None
