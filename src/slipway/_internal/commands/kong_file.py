"""Kong's declarative file (`_format_version: "3.0"`), for a Kong without a database, or for its decK.

Kong's router prefers the route with more attributes, so each has the same ones: methods, paths and, where the stack has
hosts, hosts. All paths are regular expressions, whose priorities say the order in which the model tries them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slipway._internal.commands.kong_plugins import header_plugins, rule_plugins
from slipway._internal.model.auth import CONSUMER_HEADER, spellings
from slipway._internal.model.engine_routes import EngineRoute
from slipway._internal.model.hosts import WILDCARD
from slipway._internal.model.route_rules import METHODS

FORMAT_VERSION = "3.0"
ALL_METHODS = (*METHODS, "TRACE")
"""What a route without `methods` takes."""
_SEPARATOR = "(?:/|%2[fF]|%5[cC])"
_AMBIGUOUS = rf"~/(?:.*{_SEPARATOR})?\.\.?(?:{_SEPARATOR}.*)?$"
"""Paths whose dot segments have an encoded slash at one side; Kong has resolved the others."""


def render_kong_file(routes: Sequence[EngineRoute]) -> dict[str, Any]:
    """Return the file's content.

    Args:
        routes: in the order in which they are tried; `check_engine` has let them pass.
    """
    count = len(routes)
    refusing: list[dict[str, Any]] = []
    for kind, hosts in _hosts(routes).items():
        refusing.append(_refusal(f"ambiguous{kind}", [_AMBIGUOUS], list(ALL_METHODS), hosts, 2 * count + 1))
    for rank, wanted in enumerate(routes):
        if wanted.route.path != "/":
            pattern = f"~{_written_otherwise(wanted.route.path)}"
            methods = list(wanted.route.methods or ALL_METHODS)
            refusing.append(
                _refusal(f"{wanted.name}-otherwise", [pattern], methods, wanted.hosts, 2 * (count - rank) - 1)
            )
    return {
        "_format_version": FORMAT_VERSION,
        "services": [_service(wanted, 2 * (count - rank)) for rank, wanted in enumerate(routes)],
        **({"routes": refusing} if refusing else {}),
    }


def _service(wanted: EngineRoute, priority: int) -> dict[str, Any]:
    """Return one of Kong's services: a route has its own, as it has its own path, times and retries."""
    route, policy = wanted.route, wanted.route.retry_policy
    strips = route.service_path != route.path
    idle = wanted.limits.idle * 1000
    plugins = rule_plugins(wanted) | header_plugins(route, tuple(spellings(CONSUMER_HEADER)))
    return {
        "name": wanted.name,
        "protocol": "http",
        "host": wanted.service.name,
        "port": wanted.service.settings.port,
        **({"path": route.service_path} if strips else {}),
        "connect_timeout": wanted.limits.connect * 1000,
        "read_timeout": idle,
        "write_timeout": idle,
        "retries": policy.times if policy else 0,
        "routes": [
            {
                "name": wanted.name,
                **_match(_paths(route.path), list(route.methods or ALL_METHODS), wanted.hosts, priority),
                "strip_path": strips,
                "preserve_host": True,
                "plugins": [{"name": name, "config": config} for name, config in sorted(plugins.items())],
            }
        ],
    }


def _match(paths: list[str], methods: list[str], hosts: Sequence[str], priority: int) -> dict[str, Any]:
    return {
        "protocols": ["http", "https"],
        "methods": methods,
        **({"hosts": list(hosts)} if hosts else {}),
        "paths": paths,
        "regex_priority": priority,
    }


def _refusal(name: str, paths: list[str], methods: list[str], hosts: Sequence[str], priority: int) -> dict[str, Any]:
    """Return a route that turns requests down: a service could read their path as another one than Kong."""
    answer = {"status_code": 400, "message": "Bad request"}
    return {
        "name": name,
        **_match(paths, methods, hosts, priority),
        "plugins": [{"name": "request-termination", "config": answer}],
    }


def _hosts(routes: Sequence[EngineRoute]) -> dict[str, list[str]]:
    """Return the hosts that have routes: exact ones, which Kong tries first, and wildcards, each with a name's end."""
    hosts = sorted({host for route in routes for host in route.hosts})
    if not hosts:
        return {"": []}
    wild = [host for host in hosts if host.startswith(WILDCARD)]
    exact = [host for host in hosts if host not in wild]
    return {kind: named for kind, named in (("", exact), ("-below", wild)) if named}


def _paths(path: str) -> list[str]:
    """Return the patterns of a path and all below it. What is matched is what `strip_path` takes away."""
    escaped = _escape(path)
    return ["~/"] if path == "/" else [f"~{escaped}$", f"~{escaped}/"]


def _written_otherwise(path: str) -> str:
    """Return the pattern of all ways to write a path, or one below; the plain one has been tried before."""
    first, *others = path[1:].split("/")
    segments = "".join(f"{_SEPARATOR}+{_escape(segment)}" for segment in others)
    return f"/{_SEPARATOR}*{_escape(first)}{segments}(?:{_SEPARATOR}.*)?$"


def _escape(path: str) -> str:
    """Return a path as a pattern: of the signs that a path may have, only the dot means something else there."""
    return path.replace(".", r"\.")
