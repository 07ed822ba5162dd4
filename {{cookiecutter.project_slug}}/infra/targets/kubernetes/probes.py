"""How Kubernetes asks whether a service is well: by the Dockerfile's own HEALTHCHECK, so it is written down once."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from pulumi_kubernetes.core.v1 import ExecActionArgs, ProbeArgs, TCPSocketActionArgs

from slipway.content import dockerfile
from slipway.content.healthcheck import Healthcheck
from slipway.model.workspace import Service

STARTUP_SECONDS = 60
"""How long a container may take to be well for the first time, unless its Dockerfile gives it more."""
STARTUP_PERIOD = 2
PATIENT = 5
"""How many times as long an answer may take. Docker only notes one that is late; Kubernetes acts on it, and on a busy
node, where a check takes seconds to start, it would send requests to nobody."""
SELDOM = 6
"""How many times as seldom the liveness probe asks: each restart makes a busy node busier."""
KNOCK = Healthcheck((), interval=5, timeout=3)
"""How often a port is knocked at where there is no HEALTHCHECK."""


@dataclass(frozen=True)
class Probes:
    """A container's probes, and the seconds that it may take to start."""

    startup: ProbeArgs | None = None
    readiness: ProbeArgs | None = None
    liveness: ProbeArgs | None = None
    seconds: int = STARTUP_SECONDS


def of(service: Service) -> Probes:
    """Return a service's probes: its health check, or else whether its port is open; none where it has neither.

    An unwell container is sent no more requests; only one that stays unwell for long is restarted.

    Raises:
        ConfigError: its Dockerfile cannot be read.
    """
    check = dockerfile.read(service.dockerfile).health(service.settings.target)
    if not check and not service.settings.port:
        return Probes()
    times = check or KNOCK
    seconds = max(STARTUP_SECONDS, ceil(times.start_period + times.retries * times.interval))
    period = ceil(times.start_interval or STARTUP_PERIOD)

    def probe(every: float, failures: int) -> ProbeArgs:
        return ProbeArgs(
            exec_=ExecActionArgs(command=list(check.command)) if check else None,
            tcp_socket=None if check else TCPSocketActionArgs(port=service.settings.port or 0),
            period_seconds=max(1, ceil(every)),
            timeout_seconds=max(1, ceil(PATIENT * times.timeout)),
            failure_threshold=failures,
        )

    return Probes(
        startup=probe(period, ceil(seconds / period)),
        readiness=probe(times.interval, times.retries),
        liveness=probe(SELDOM * times.interval, times.retries),
        seconds=seconds,
    )
