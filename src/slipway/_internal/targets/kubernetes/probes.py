"""How Kubernetes asks whether a service is well: at its `health` path, or by the Dockerfile's own HEALTHCHECK.

A path is asked by the kubelet. A command is a new process in the container, every few seconds, which takes its share of
the container's memory and processor; but it is written down once, and suits a service without a port.
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
"""How many times as long an answer may take. Docker only notes one that is late; Kubernetes acts on it, and on a busy
node, where a check takes seconds to start, it would send requests to nobody."""
LIVENESS_FACTOR = 6
"""How many times as seldom the liveness probe asks: each restart makes a busy node busier."""
DEFAULT_PROBE = Healthcheck((), interval=5, timeout=3)
"""How often a port is knocked at where there is no HEALTHCHECK."""


@dataclass(frozen=True)
class Probes:
    """A container's probes, and the seconds that it may take to start."""

    startup: ProbeArgs | None = None
    readiness: ProbeArgs | None = None
    liveness: ProbeArgs | None = None
    start_seconds: int = DEFAULT_START_SECONDS


def build_probes(service: Service) -> Probes:
    """Return a service's probes: its `health` path, else its HEALTHCHECK, else whether its port is open; or none.

    The HEALTHCHECK says how often and how patiently either is asked. An unwell container is sent no more requests; only
    one that stays unwell for long is restarted.

    Raises:
        ConfigError: its Dockerfile cannot be read.
    """
    check = dockerfile.read(service.dockerfile).health(service.settings.target)
    path, port = service.settings.health, service.settings.port
    if not check and not port:
        return Probes()
    timing = check or DEFAULT_PROBE
    start_seconds = ceil(timing.start_seconds(service.settings.start_timeout))
    period = max(1, ceil(timing.start_interval or STARTUP_PERIOD_SECONDS))

    # A command in the container may find well what listens on loopback only: there the kubelet asks the port first, and
    # the command says from then on whether requests are sent to it.
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
        # It may not be well yet when its port is open: until its time to start is over it is not restarted for that.
        liveness=probe(
            check,
            LIVENESS_FACTOR * timing.interval,
            timing.retries,
            initial_delay=None if startup_check is check else start_seconds,
        ),
        start_seconds=start_seconds,
    )
