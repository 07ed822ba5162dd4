"""Checks a stack's host and those of its routes together: two routes may turn out to be for one host in a stack."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import msgspec

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.hosts import ANY_HOST, WILDCARD, by_host, covers
from slipway._internal.model.routes import RouteSettings, overlap
from slipway._internal.model.stack import Stack, hosts_of_stack, setting_line
from slipway._internal.model.structured_files import line_of
from slipway._internal.model.text import read_text
from slipway._internal.model.workspace import Service

_NumberedRoute = tuple[Service, int, RouteSettings]


def check_hosts(services: Sequence[Service], stack: Stack) -> None:
    """Refuse routes that meet at one host of the stack, and hosts that its target cannot tell apart.

    Args:
        services: those that run in the stack.
        stack: the stack.

    Raises:
        ConfigError: two routes are for the same requests, or the target has no such hosts.
    """
    routes = [(service, number, route) for service in services for number, route in enumerate(service.routes)]
    hosts = by_host(routes, lambda found: found[2].host, hosts_of_stack(stack))
    for host, found in hosts.items():
        for (owner, _, one), (service, number, other) in combinations(found, 2):
            if overlap(*(msgspec.structs.replace(route, host=host) for route in (one, other))):
                raise _error(
                    (service, number, other),
                    f"{host}{other.path} is also a route of the service `{owner.name}` in the stack `{stack.name}`",
                    "Give one of the two another path or host.",
                )
    if stack.acme:
        _check_for_acme(routes, [*hosts], stack)
    if stack.target == "kubernetes":
        _check_for_kubernetes(routes, stack)


def _check_for_acme(routes: Sequence[_NumberedRoute], hosts: Sequence[str], stack: Stack) -> None:
    """Refuse hosts that an authority does not issue a certificate for when it asks the hosts themselves (HTTP-01)."""
    for service, number, route in routes:
        if route.host and route.host.startswith(WILDCARD):
            raise _error(
                (service, number, route),
                f"`host` {route.host} stands for many names, and the authority that {stack.file} names asks each",
                "Name each host, or have a certificate of your own: slipway:certificate in place of slipway:acme.",
            )
    if all(host == ANY_HOST for host in hosts):
        raise ConfigError(
            f"{stack.file}:{setting_line(stack, 'slipway:acme')}: `slipway:acme` is set, but the stack has no host",
            remedy="Name the one that callers use: `slipway:host: shop.example.com`.",
        )


def _check_for_kubernetes(routes: Sequence[_NumberedRoute], stack: Stack) -> None:
    """Refuse hosts whose routes Gateways and Ingresses would mix, each in its own way."""
    hosts = {route.host for _, _, route in routes if route.host} | {*hosts_of_stack(stack)}
    for service, number, route in routes:
        if not route.host:
            continue
        if not stack.host and any(not other.host for _, _, other in routes):
            raise _error(
                (service, number, route),
                "`host` cannot be had on Kubernetes beside routes without one, which would be for this host too",
                f"Name the others' host: slipway:host in {stack.file}.",
            )
        if covered := next((host for host in sorted(hosts) if covers(route.host, host)), ""):
            raise _error(
                (service, number, route),
                f"`host` {route.host} cannot be had on Kubernetes beside {covered}, whose requests it would get too",
                "Name each host.",
            )
        if stack.ingress and route.host.startswith(WILDCARD):
            raise _error(
                (service, number, route),
                f"`host` {route.host} cannot be had with the Ingress that {stack.file} names: to it, `*` is one name",
                "Use slipway:gateway or slipway:parent, a Gateway, in place of slipway:ingress.",
            )


def _error(where: _NumberedRoute, what: str, remedy: str) -> ConfigError:
    service, number, route = where
    file = service.folder / "service.toml"
    keys = ("routes", f"{number}", "host" if route.host else "path") if service.settings.routes else ("route",)
    return ConfigError(f"{file}:{line_of(read_text(file), keys)}: {what}", remedy=remedy)
