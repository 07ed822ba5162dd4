"""How Kubernetes asks whether a service is well: at its `health` path, or by the Dockerfile's own HEALTHCHECK.

A path is asked by the kubelet. A command is a new process in the container, every few seconds, which takes its share of
the container's memory and processor; but it is written down once, and suits a service without a port.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from pulumi_kubernetes.core.v1 import ExecActionArgs, HTTPGetActionArgs, ProbeArgs, TCPSocketActionArgs
from slipway.content import dockerfile
from slipway.content.healthcheck import START_SECONDS, Healthcheck
from slipway.model.workspace import Service

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
    seconds: int = START_SECONDS


def of(service: Service) -> Probes:
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
    times = check or KNOCK
    seconds = ceil(times.start_seconds(service.settings.start_timeout))
    period = max(1, ceil(times.start_interval or STARTUP_PERIOD))

    # A command in the container may find well what listens on loopback only: there the kubelet asks the port first, and
    # the command says from then on whether requests are sent to it.
    first = None if check and port and not path else check

    def probe(asked: Healthcheck | None, every: float, failures: int, *, after: int | None = None) -> ProbeArgs:
        return ProbeArgs(
            http_get=HTTPGetActionArgs(path=path, port=port) if path and port else None,
            exec_=ExecActionArgs(command=list(asked.command)) if asked and not path else None,
            tcp_socket=TCPSocketActionArgs(port=port) if port and not asked and not path else None,
            initial_delay_seconds=after,
            period_seconds=max(1, ceil(every)),
            timeout_seconds=max(1, ceil(PATIENT * times.timeout)),
            failure_threshold=failures,
        )

    return Probes(
        startup=probe(first, period, ceil(seconds / period)),
        readiness=probe(check, times.interval, times.retries),
        # It may not be well yet when its port is open: until its time to start is over it is not restarted for that.
        liveness=probe(check, SELDOM * times.interval, times.retries, after=None if first is check else seconds),
        seconds=seconds,
    )
