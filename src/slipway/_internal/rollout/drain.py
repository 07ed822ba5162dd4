"""Stops a container once its last request is answered, or its drain time is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from slipway._internal.rollout import envoy
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.run import engine
from slipway._internal.run.background import Background

POLL_SECONDS = 0.05
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

    The gateway counts those that it sent to a name which its routes no longer lead to: the container's own, or the
    first's of its service. To one of several that go while others stay, requests are sent until it stops listening.
    """
    with engine.docker_errors():
        running = _find_running(container)
        if running is None:
            return
        names = {running.name, *(name for found in _networks(running) for name in found.get("Aliases") or ())}
        workspace, stack = (running.labels.get(label, "") for label in (engine.WORKSPACE_LABEL, engine.STACK_LABEL))
        own_names = [name for name in names if name.startswith(f"{workspace}-{stack}-")]
        upstreams = [f"{name}:{port}" for name in own_names]
        envoy.wait_for_requests(workspace, stack, upstreams, seconds, cancellation)


def _networks(container: Any) -> list[dict[str, Any]]:
    return list(container.attrs["NetworkSettings"]["Networks"].values())


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
