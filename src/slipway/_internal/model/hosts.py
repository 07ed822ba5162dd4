"""Which hosts a stack answers for, and which of its routes are a host's: `slipway:host`, and `host` of a route.

A route without a `host` is for the stack's host; where the stack has none, for all hosts that no route names. A host
has only the routes that are for it, on every target.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

from slipway._internal.model.names import HOST

T = TypeVar("T")
ANY_HOST = ""
"""Stands for all hosts that have no name in a stack."""
GATEWAY_HOST = "gateway"
"""The name of the gateway on the stack's own network, by which services call each other."""
WILDCARD = "*."
_PORT = re.compile(r":[0-9]*\Z")


def host_problem(host: str) -> str:
    """Return what is wrong with a route's `host`; empty when nothing is."""
    if host == GATEWAY_HOST:
        return "is the gateway's own name in the stack"
    name = host.removeprefix(WILDCARD)
    if not HOST.fullmatch(name):
        return "is no host name"
    if name != host and "." not in name:
        return "would be all hosts of a top-level domain"
    return ""


HOST_REMEDY = "Write a name in lower case without scheme and port, such as api.example.com or *.example.com."


def hosts_of(route_host: str | None, stack_hosts: Sequence[str]) -> tuple[str, ...]:
    """Return the hosts that a route is for."""
    return (route_host,) if route_host else tuple(stack_hosts) or (ANY_HOST,)


def match_host(hosts: Collection[str], authority: str) -> str:
    """Return which of the hosts, exact or with a wildcard, a request's `Host` means; ANY_HOST for none of them."""
    asked = _PORT.sub("", authority).lower().removesuffix(".")
    if asked in hosts:
        return asked
    fitting = [host for host in hosts if covers(host, asked)]
    return max(fitting, key=len, default=ANY_HOST)


def covers(host: str, other: str) -> bool:
    """Whether a wildcard stands for another host, exact or a wildcard itself."""
    return host.startswith(WILDCARD) and other.endswith(host[1:]) and other not in (host, host[1:])


def by_host(items: Iterable[T], host_of: Callable[[T], str | None], stack_hosts: Sequence[str]) -> dict[str, list[T]]:
    """Return the items of each host that has some, those with a name first."""
    found: dict[str, list[T]] = {host: [] for host in stack_hosts}
    for item in items:
        for host in hosts_of(host_of(item), stack_hosts):
            found.setdefault(host, []).append(item)
    return {host: found[host] for host in sorted(found, key=lambda host: (host == ANY_HOST, host))}
