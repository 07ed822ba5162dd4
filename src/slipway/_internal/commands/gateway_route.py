"""A route of a stack's gateway: what leads where, whatever engine serves it."""

from __future__ import annotations

from dataclasses import dataclass

from slipway._internal.model.request_limits import DEFAULT_LIMITS, Protocol, RequestLimits
from slipway._internal.model.routes import RouteSettings


@dataclass(frozen=True)
class CanaryShare:
    """The percentage of a route's requests, 1 to 99, that goes to another upstream."""

    upstream: str
    percent: int


@dataclass(frozen=True)
class Route:
    """One service behind the gateway.

    Args:
        service: its name, for the page that says it is down.
        path: what it answers below: `/api` stands for /api and /api/…, `/` for all that is left.
        upstream: `host:port` on the stack's network; a host that several containers have leads to all of them.
        limits: how large and how slow its requests may be.
        health: the path that answers 200 while a container is healthy; empty: its port is connected to.
        rules: which requests for the path it takes, and what is changed; None: all, and nothing.
        protocol: how the service is spoken to.
        canary: what goes elsewhere; None: nothing does.
    """

    service: str
    path: str
    upstream: str
    limits: RequestLimits = DEFAULT_LIMITS
    health: str = ""
    rules: RouteSettings | None = None
    protocol: Protocol = "http"
    canary: CanaryShare | None = None

    @property
    def upstreams(self) -> tuple[str, ...]:
        """All that requests are sent to."""
        return (self.upstream, *([self.canary.upstream] if self.canary else []))

    @property
    def settings(self) -> RouteSettings:
        """The route as a service.toml has it."""
        return self.rules or RouteSettings(path=self.path)
