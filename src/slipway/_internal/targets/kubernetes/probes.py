"""How Kubernetes checks a service's health: at its `health` path, or by the Dockerfile's HEALTHCHECK.

The kubelet requests the path. The HEALTHCHECK's command starts a process in the container every few seconds, which
uses some of the container's memory and CPU; but it is defined only once, and suits a service without a port.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from pulumi_kubernetes.core.v1 import ExecActionArgs, HTTPGetActionArgs, ProbeArgs, TCPSocketActionArgs

from slipway._internal.content import dockerfile
from slipway._internal.content.healthcheck import DEFAULT_START_SECONDS, Healthcheck
from slipway._internal.model.workspace import Service

STARTUP_PERIOD_SECONDS = 2
TIMEOUT_FACTOR = 5
"""How much to extend the check's timeout. Docker only records a late answer. Kubernetes stops sending requests, and on
a busy node, where a check takes seconds to start, no pod would receive any."""
LIVENESS_FACTOR = 6
"""How much to extend the liveness probe's interval: each restart makes a busy node busier."""
DEFAULT_PROBE = Healthcheck((), interval=5, timeout=3)
"""The timing of port checks without a HEALTHCHECK."""


@dataclass(frozen=True)
class Probes:
    """A container's probes, and the seconds it may take to start."""

    startup: ProbeArgs | None = None
    readiness: ProbeArgs | None = None
    liveness: ProbeArgs | None = None
    start_seconds: int = DEFAULT_START_SECONDS


def build_probes(service: Service) -> Probes:
    """Return a service's probes: its `health` path, else its HEALTHCHECK, else its open port; or none.

    The HEALTHCHECK sets the timing of all of them. An unhealthy container receives no more requests; only one that
    stays unhealthy for long is restarted.

    Raises:
        ConfigError: its Dockerfile cannot be read.
    """
    check = _health_check(service)
    path, port = service.settings.health, service.settings.port
    if not check and not port:
        return Probes()
    timing = check or DEFAULT_PROBE
    start_seconds = ceil(timing.start_seconds(service.settings.start_timeout))
    period = max(1, ceil(timing.start_interval or STARTUP_PERIOD_SECONDS))

    # A command in the container also succeeds for a service that listens on loopback only. So the kubelet checks the
    # port first; from then on the command decides whether requests are sent.
    startup_check = None if check and port and not path else check

    def probe(
        healthcheck: Healthcheck | None, interval: float, failures: int, *, initial_delay: int | None = None
    ) -> ProbeArgs:
        return ProbeArgs(
            http_get=HTTPGetActionArgs(path=path, port=port) if path and port else None,
            exec_=ExecActionArgs(command=list(healthcheck.command)) if healthcheck and not path else None,
            tcp_socket=TCPSocketActionArgs(port=port) if port and not healthcheck and not path else None,
            initial_delay_seconds=initial_delay,
            period_seconds=max(1, ceil(interval)),
            timeout_seconds=max(1, ceil(TIMEOUT_FACTOR * timing.timeout)),
            failure_threshold=failures,
        )

    return Probes(
        startup=probe(startup_check, period, ceil(start_seconds / period)),
        readiness=probe(check, timing.interval, timing.retries),
        # An open port does not mean healthy yet: do not restart it for that before its start time is over.
        liveness=probe(
            check,
            LIVENESS_FACTOR * timing.interval,
            timing.retries,
            initial_delay=None if startup_check is check else start_seconds,
        ),
        start_seconds=start_seconds,
    )


def _health_check(service: Service) -> Healthcheck | None:
    """Return a service's own health check, else its Dockerfile's; None for an image that is not built here."""
    own = service.settings.healthcheck
    if own:
        return Healthcheck(
            own.command,
            interval=own.interval,
            timeout=own.timeout,
            start_period=own.start_period,
            retries=own.retries,
        )
    return dockerfile.read(service.dockerfile).health(service.settings.target) if service.is_built else None
