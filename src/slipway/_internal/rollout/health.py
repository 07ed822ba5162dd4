"""Waits until a container can take over: it passes the image's health check, and its port is reachable."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from slipway._internal.content.healthcheck import Healthcheck
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.masking import mask
from slipway._internal.rollout import reachability
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.run import engine

POLL_SECONDS = 0.15  # between two probes, if the check has no start interval
LISTEN_SECONDS, LISTEN_POLL_SECONDS = 1.0, 0.02  # how long to wait for the port to open, and between two attempts
REFUSED_SECONDS = 5.0  # how long to wait for the port while the container refuses connections
SETTLE_SECONDS = 2.0  # how long a container without a health check must stay up
LOOPBACK_SECONDS = 5.0  # how long the port may be open on loopback only before that counts as a failure
MAX_TIMEOUT_FACTOR = 5.0
HUNG_CHECK_FACTOR = 3  # how many times its timeout to wait for a hanging check before starting the next
SLOW_START_REMEDY = "Check its log. If it only needs more time, raise `start-timeout` in its service.toml."


class Unhealthy(SlipwayError):
    """A container ended, did not become healthy in time, or cannot be reached."""


def wait_until_healthy(
    container: Any, check: Healthcheck, timeout: float | None, cancellation: CancellationToken, port: int | None = None
) -> None:
    """Return as soon as the container is healthy, and its port answers on the stack's network.

    Slipway runs the check itself: engines before 25 have no start interval, so their first check comes after a whole
    interval, often 30 s.

    Args:
        container: a started container of the Docker SDK.
        check: its health check; without a command it must stay up for two seconds.
        timeout: how many seconds it may take; by default what the check allows, and at least 60.
        cancellation: stops the waiting.
        port: the port that it listens on, if any.

    Raises:
        Unhealthy: it ended, timed out, or cannot be reached; the detail has the health check's last output.
        Cancelled: the user interrupted.
    """
    started_at, seconds = time.monotonic(), check.start_seconds(timeout)
    if check.command:
        if port:
            _wait_until_listening(container, port, cancellation)
        _wait_for_health_check(container, check, started_at, seconds, cancellation)
    if port:
        _wait_until_reachable(container, port, started_at, seconds, cancellation)
    while not check.command and time.monotonic() < started_at + SETTLE_SECONDS:
        _require_running(container)
        cancellation.sleep(POLL_SECONDS)
    _require_running(container)


def _wait_for_health_check(
    container: Any, check: Healthcheck, started_at: float, seconds: float, cancellation: CancellationToken
) -> None:
    check_output = ""
    while True:
        _require_running(container, check_output)
        remaining = started_at + seconds - time.monotonic()
        if remaining <= 0:
            raise Unhealthy(
                f"it did not become healthy within {seconds:.0f} s",
                remedy=SLOW_START_REMEDY,
                detail=_quote_check_output(check_output),
            )
        check_started = time.monotonic()
        probe = _run_health_check(container, list(check.command), min(remaining, check.timeout * timeout_factor()))
        if probe.ok:
            return
        check_output = probe.output
        # On a busy machine a probe is slow; pausing as long leaves the CPU to the starting containers.
        pause = max(check.start_interval or POLL_SECONDS, time.monotonic() - check_started)
        cancellation.sleep(max(0, min(pause, started_at + seconds - time.monotonic())))
        # A check that is still running cannot be stopped from here, and a second one would slow down both.
        _wait_while_running(
            probe.finished.is_set,
            min(check_started + HUNG_CHECK_FACTOR * check.timeout, started_at + seconds),
            container,
            cancellation,
        )


def _wait_while_running(done: Callable[[], bool], end: float, container: Any, cancellation: CancellationToken) -> None:
    while not done() and time.monotonic() < end:
        _require_running(container)
        cancellation.sleep(POLL_SECONDS)


def timeout_factor() -> float:
    """Return by how much to extend a check's timeout: more than 1 on an overloaded machine.

    If four processes compete for one processor, a check takes four times as long without being worse.
    """
    if not engine.address().startswith("unix://"):
        return 1
    return min(MAX_TIMEOUT_FACTOR, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def _wait_until_listening(container: Any, port: int, cancellation: CancellationToken) -> None:
    """Wait briefly for the port to open: an earlier health check only takes CPU time from the starting program.

    If this machine cannot reach the port, the health checks start at once.
    """
    container.reload()
    address = reachability.ContainerAddress.of(container)
    started_at, refused = time.monotonic(), False
    while address and address.is_local:
        port_state = address.probe_port(port, LISTEN_POLL_SECONDS)
        if port_state == "open":
            return
        refused = port_state == "refused"  # a container that has ended does not refuse connections
        if time.monotonic() - started_at > (REFUSED_SECONDS if refused else LISTEN_SECONDS):
            return
        cancellation.sleep(LISTEN_POLL_SECONDS)


def _wait_until_reachable(
    container: Any, port: int, started_at: float, seconds: float, cancellation: CancellationToken
) -> None:
    """Wait until the port answers at the address that the gateway uses, which a check in the container may not test."""
    container.reload()
    address = reachability.ContainerAddress.of(container)
    if address is None:
        _require_running(container)
        raise Unhealthy(f"its port {port} cannot be reached: it has no address on the stack's network")
    waiting_since = time.monotonic()
    with reachability.port_probe(container, address, port, cancellation) as port_answers:
        while not port_answers():
            _require_running(container)
            now = time.monotonic()
            if now > waiting_since + LOOPBACK_SECONDS:
                listeners = reachability.find_listeners(container, address)
                if now > started_at + seconds or reachability.is_loopback_only(listeners, port):
                    raise _unreachable_error(port, listeners)
            cancellation.sleep(POLL_SECONDS)


def _unreachable_error(port: int, listeners: list[tuple[str, int]]) -> Unhealthy:
    remedy = f"Make it listen on 0.0.0.0, port {port}: the port comes from `port` in its service.toml, as PORT."
    other_ports = sorted({listening_port for _, listening_port in listeners if listening_port != port})
    if reachability.is_loopback_only(listeners, port):
        remedy = f"Make it listen on 0.0.0.0:{port}: a loopback address is unreachable from outside its container."
    elif other_ports:
        ports = " or ".join(map(str, other_ports))
        remedy = f"Set `port` in its service.toml to {ports}, or make it listen on {port}, the value of PORT."
    endpoints = ", ".join(
        f"[{address}]:{listening_port}" if ":" in address else f"{address}:{listening_port}"
        for address, listening_port in listeners
    )
    return Unhealthy(
        f"it runs, but its port {port} does not answer on the stack's network",
        remedy=remedy,
        detail=f"it listens on {endpoints}, not on 0.0.0.0:{port}" if endpoints else "",
    )


def _run_health_check(container: Any, command: list[str], seconds: float) -> engine.ProbeResult:
    try:
        return engine.probe(container.id, command, seconds)
    except engine.load_sdk().errors.APIError as error:
        if error.status_code == 409:  # it has just ended; the next check reports how
            return engine.ProbeResult(False, "")
        raise


def _require_running(container: Any, check_output: str = "") -> None:
    container.reload()
    state = container.attrs["State"]
    if state["Running"] and not state["Restarting"]:
        return
    reason = f"it ended with exit code {state['ExitCode']}"
    if state["OOMKilled"]:
        reason = "it exceeded its memory limit and was killed"
    elif state["Error"]:
        reason += f" ({state['Error']})"
    raise Unhealthy(reason, detail=_quote_check_output(check_output))


def _quote_check_output(check_output: str) -> str:
    return f"health check: {mask(check_output)[-500:]}" if check_output else ""
