"""Lets a container end: once its last request is answered, and no later than its time allows."""

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
"""Seconds without a connection after which none is to come, where NGINX still has others' requests in flight."""
MIN_STOP_SECONDS = 10.0
"""The least that a program has to end after its stop signal."""


def drain_container(
    container: str,
    seconds: float,
    cancellation: CancellationToken,
    *,
    port: int | None,
    remove: bool = True,
    name: str = "",
) -> None:
    """Let a container end that no new request is sent to, then remove it; what is gone already is fine.

    It gets its stop signal when its last request is answered, or `seconds` are over. From then on it has what is left
    of them to end, and ten seconds at least.

    Args:
        container: its id.
        seconds: its `drain`.
        cancellation: ends the waiting; what was begun goes on.
        port: where it takes requests, if it does.
        remove: False to keep it, stopped.
        name: its name, by which its volumes are found even if it is gone.

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
    """Return when a container's requests through the gateway have ended, or after so many seconds.

    NGINX tells that it still answers requests from before its last switch. Whether they are this container's is told by
    its connections, where this machine can see them.
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
    """Do work that cannot be interrupted; where the user does, leave it to itself."""
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
