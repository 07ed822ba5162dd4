"""A stack's routes as an engine besides the targets' own is given them, and what an engine says that it cannot have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from slipway._internal.model.auth import with_files
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.hosts import WILDCARD, covers, hosts_of
from slipway._internal.model.request_limits import RequestLimits, effective_limits
from slipway._internal.model.routes import RouteSettings, precedence
from slipway._internal.model.rule_places import refuse_rule
from slipway._internal.model.workspace import Service


@dataclass(frozen=True)
class Refusal:
    """What an engine cannot express of a route: the keys that lead to it in the route, why, and what to do."""

    keys: tuple[str, ...]
    why: str
    remedy: str


@dataclass(frozen=True)
class EngineRoute:
    """One route of a service, with the rules in force.

    Args:
        service: whose it is.
        number: its place in the service's file, from 0.
        route: with the rules in force.
        hosts: what it is for; none: for all.
    """

    service: Service
    number: int
    route: RouteSettings
    hosts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What no other route is called: its service, and its number from 1."""
        return f"{self.service.name}-{self.number + 1}"

    @property
    def limits(self) -> RequestLimits:
        """The limits in force for its requests."""
        return effective_limits(self.route, self.service.settings.gateway, self.service.defaults)


Refusals = Callable[[EngineRoute], Iterator[Refusal]]


def engine_routes(services: Sequence[Service], stack_hosts: Sequence[str] = ()) -> list[EngineRoute]:
    """Return the routes of these services, in the order in which they are tried.

    Raises:
        ConfigError: a file with an issuer's keys cannot be read.
    """
    found = [
        EngineRoute(
            service,
            number,
            _with_files(route, service.folder),
            tuple(host for host in hosts_of(route.host, stack_hosts) if host),
        )
        for service in services
        for number, route in enumerate(service.ruled_routes)
    ]
    return sorted(found, key=lambda each: (*precedence(each.route.path), each.service.name, each.number))


def _with_files(route: RouteSettings, folder: Path) -> RouteSettings:
    return msgspec.structs.replace(route, auth=with_files(route.auth, folder)) if route.auth else route


def check_engine(routes: Sequence[EngineRoute], refusals: Refusals, engine: str, workspace_root: Path) -> None:
    """Check that an engine can have all of these routes.

    Raises:
        ConfigError: it cannot; the error names the file, the line, the key and the engine.
    """
    for route in routes:
        for refusal in refusals(route):
            what = f"cannot be had with {engine}: {refusal.why}"
            raise refuse_rule(route.service, workspace_root, route.number, refusal.keys, what, refusal.remedy)


def check_hosts_apart(routes: Sequence[EngineRoute], engine: str, workspace_root: Path) -> None:
    """Check that no request for one host could meet another host's routes, with an engine that tries all that fit.

    Raises:
        ConfigError: some routes are for all hosts and others for one, or a wildcard stands for another route's host.
    """
    hosts = {host for route in routes for host in route.hosts}
    for route in routes:
        if hosts and not route.hosts:
            raise _host_error(
                route,
                "path",
                f"is for all hosts, others are for {min(hosts)}, and {engine} would answer by both",
                "Set slipway:host in the stack's file, or a `host` of the route.",
                workspace_root,
            )
        for host in route.hosts:
            wider = [other for other in sorted(hosts) if other.startswith(WILDCARD) and covers(other, host)]
            if wider:
                raise _host_error(
                    route,
                    "host",
                    f"{host} is also below {wider[0]}, and {engine} would answer by the routes of both",
                    "Name the hosts one by one in place of the wildcard.",
                    workspace_root,
                )


def _host_error(route: EngineRoute, key: str, what: str, remedy: str, root: Path) -> ConfigError:
    keys = (key if key == "path" or route.route.host else "path",)
    return refuse_rule(route.service, root, route.number, keys, what, remedy)
