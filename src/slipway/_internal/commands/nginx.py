"""Builds the gateway's nginx.conf: a pure function from routes to text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from slipway._internal.commands.nginx_template import CONFIG_TEMPLATE, LISTEN_PORT, OWN_PATH, render_error_pages
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.request_limits import BODY_SIZE, DEFAULT_LIMITS, RequestLimits

__all__ = ["LISTEN_PORT", "OWN_PATH", "Route", "differ_only_in_upstreams", "parse_config", "render_config"]
KEEPALIVE_OFF_FLAG = "/etc/slipway/closing"  # while this is executable, client connections end with each answer

_SERVICE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_ROUTE = re.compile(r"/|(/[A-Za-z0-9._~-]+)+")
_DRAIN = re.compile(r"^worker_shutdown_timeout ([0-9]+)s;$", re.MULTILINE)
_LOCATION = re.compile(
    r"^        location (?:= )?(?P<route>/|(?<== )/\S+) \{\n"
    r"            set \$service (?P<service>[^\s\";]+);\n"
    r"            set \$upstream (?P<upstream>[^\s\";]+);$"
    r"(?:\n            client_max_body_size (?P<body>[0-9]+[kmg]?);\n"
    r"            proxy_connect_timeout (?P<connect>[0-9]+)s;\n"
    r"            proxy_read_timeout (?P<idle>[0-9]+)s;$)?",
    re.MULTILINE,
)
_UPSTREAM = re.compile(r"[a-z0-9][a-z0-9._-]*:[0-9]{1,5}", re.IGNORECASE)


@dataclass(frozen=True)
class Route:
    """One service behind the gateway.

    Args:
        service: its name, for the page that says it is down.
        path: what it answers below: `/api` stands for /api and /api/…, `/` for all that is left.
        upstream: `host:port` on the stack's network.
        limits: how large and how slow its requests may be.
    """

    service: str
    path: str
    upstream: str
    limits: RequestLimits = DEFAULT_LIMITS


def render_config(routes: Sequence[Route], *, drain_seconds: int) -> str:
    """Return nginx.conf for these routes.

    Requests are passed on with their path as it came. A host that does not exist (yet) costs its own route
    a 502 and nothing else: names are looked up at the engine's DNS when a request comes, not at the start.
    That rules out `upstream` blocks, hence connections kept open to services; in exchange no request can meet
    a kept connection that its service is just closing.

    Args:
        routes: in any order.
        drain_seconds: how long requests in flight may take to end after a reload before they are cut.

    Raises:
        ConfigError: a route, name or upstream that can't stand in the file, or two services with one route.
    """
    _check_routes(routes)
    ordered = sorted(routes, key=lambda route: (-len(route.path), route.path))
    locations = "\n".join(_render_locations(route) for route in ordered)
    catch_all = "" if any(route.path == "/" for route in routes) else _NO_ROUTE_LOCATION
    return CONFIG_TEMPLATE.replace("@drain@", str(drain_seconds)).replace("@locations@", locations + catch_all)


def parse_config(text: str) -> tuple[tuple[Route, ...], int]:
    """Return the routes and the seconds to drain of a configuration that `render_config` wrote.

    Raises:
        ConfigError: it is somebody else's.
    """
    drain = _DRAIN.search(text)
    routes = tuple(
        Route(found["service"], found["route"], found["upstream"], _parse_limits(found))
        for found in _LOCATION.finditer(text)
    )
    if not drain or render_config(routes, drain_seconds=int(drain[1])) != text:
        raise ConfigError("the gateway's nginx.conf is not as this version of Slipway writes it")
    return routes, int(drain[1])


def differ_only_in_upstreams(one: str, other: str) -> bool:
    """Whether `render_config` wrote both, and they differ in nothing but where requests are sent."""
    try:
        (routes, drain), (others, other_drain) = parse_config(one), parse_config(other)
    except ConfigError:
        return False
    served = {route.service: (route.path, route.limits) for route in routes}
    return drain == other_drain and served == {route.service: (route.path, route.limits) for route in others}


def _parse_limits(found: re.Match[str]) -> RequestLimits:
    if not found["body"]:
        return DEFAULT_LIMITS
    body = "" if found["body"] == "0" else found["body"]
    return RequestLimits(body, int(found["connect"]), int(found["idle"]))


def _check_routes(routes: Sequence[Route]) -> None:
    for service_route in routes:
        if not _SERVICE.fullmatch(service_route.service):
            raise ConfigError(f"service name {service_route.service!r} is not a DNS label")
        if not _ROUTE.fullmatch(service_route.path):
            raise ConfigError(
                f"service {service_route.service} has the route {service_route.path!r}",
                remedy="Write it like /api or /shop/cart, without a slash at the end; / takes everything else.",
            )
        if service_route.path == OWN_PATH or service_route.path.startswith(f"{OWN_PATH}/"):
            raise ConfigError(
                f"service {service_route.service} has the route {service_route.path}: {OWN_PATH} is the gateway's"
            )
        if not _UPSTREAM.fullmatch(service_route.upstream):
            raise ConfigError(
                f"service {service_route.service} has the upstream {service_route.upstream!r}, not host:port"
            )
        sized = not service_route.limits.body or BODY_SIZE.fullmatch(service_route.limits.body)
        if not sized or min(service_route.limits.connect, service_route.limits.idle) < 1:
            raise ConfigError(f"service {service_route.service} has the limits {service_route.limits}")
    counted = Counter(service_route.path for service_route in routes)
    for route in (route for route, count in counted.items() if count > 1):
        names = " and ".join(sorted(service_route.service for service_route in routes if service_route.path == route))
        raise ConfigError(f"{names} have the same route {route}", remedy="Give each service its own route.")


def _render_locations(route: Route) -> str:
    paths = ["/"] if route.path == "/" else [f"= {route.path}", f"{route.path}/"]
    limits = "" if route.limits == DEFAULT_LIMITS else _render_limits(route.limits)
    # A location with error pages of its own inherits none, and the one that closes needs the same limits.
    own_errors = f"            {render_error_pages(f'@closing-{route.service}', ' ' * 12)}\n" if limits else ""
    locations = "".join(
        f"        location {path} {{\n"
        f"            set $service {route.service};\n"
        f"            set $upstream {route.upstream};\n"
        f"{limits}{own_errors}"
        f"            if (-x {KEEPALIVE_OFF_FLAG}) {{ return 418; }}\n"
        f"            proxy_pass http://$upstream;\n"
        f"        }}\n"
        for path in paths
    )
    if not limits:
        return locations
    return (
        f"{locations}"
        f"        location @closing-{route.service} {{\n"
        f"{limits}"
        f"            keepalive_timeout 0;\n"
        f"            proxy_pass http://$upstream;\n"
        f"        }}\n"
    )


def _render_limits(limits: RequestLimits) -> str:
    times = ("proxy_read_timeout", "proxy_send_timeout", "client_body_timeout", "send_timeout")
    return "".join(
        f"            {line};\n"
        for line in (
            f"client_max_body_size {limits.body or 0}",
            f"proxy_connect_timeout {limits.connect}s",
            *(f"{name} {limits.idle}s" for name in times),
        )
    )


# It sets what the frame asks for: without any route at all nothing else would, and NGINX would not start.
_NO_ROUTE_LOCATION = """
        location / {
            set $service "";
            set $upstream "";
            default_type application/json;
            return 404 '{"error": "no service has this route"}\\n';
        }
"""
