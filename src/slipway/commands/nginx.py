"""Builds the gateway's nginx.conf: a pure function from routes to text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from slipway.commands.nginx_frame import FRAME, LISTEN, OWN, error_pages
from slipway.model.errors import ConfigError
from slipway.model.gateway import SIZE, USUAL, RequestLimits

__all__ = ["LISTEN", "OWN", "Route", "config", "differ_in_upstreams_alone", "read_back"]
CLOSING = "/etc/slipway/closing"  # while this is executable, client connections end with each answer

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
        route: the path it answers below: `/api` stands for /api and /api/…, `/` for all that is left.
        upstream: `host:port` on the stack's network.
        limits: how large and how slow its requests may be.
    """

    service: str
    route: str
    upstream: str
    limits: RequestLimits = USUAL


def config(routes: Sequence[Route], *, drain_seconds: int) -> str:
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
    _check(routes)
    ordered = sorted(routes, key=lambda each: (-len(each.route), each.route))
    locations = "\n".join(_locations(each) for each in ordered)
    catch_all = "" if any(each.route == "/" for each in routes) else _NO_ROUTE
    return FRAME.replace("@drain@", str(drain_seconds)).replace("@locations@", locations + catch_all)


def read_back(text: str) -> tuple[tuple[Route, ...], int]:
    """Return the routes and the seconds to drain of a configuration that `config` wrote.

    Raises:
        ConfigError: it is somebody else's.
    """
    drain = _DRAIN.search(text)
    routes = tuple(
        Route(found["service"], found["route"], found["upstream"], _limits(found)) for found in _LOCATION.finditer(text)
    )
    if not drain or config(routes, drain_seconds=int(drain[1])) != text:
        raise ConfigError("the gateway's nginx.conf is not as this version of Slipway writes it")
    return routes, int(drain[1])


def differ_in_upstreams_alone(one: str, other: str) -> bool:
    """Whether `config` wrote both, and they differ in nothing but where requests are sent."""
    try:
        (routes, drain), (others, other_drain) = read_back(one), read_back(other)
    except ConfigError:
        return False
    served = {each.service: (each.route, each.limits) for each in routes}
    return drain == other_drain and served == {each.service: (each.route, each.limits) for each in others}


def _limits(found: re.Match[str]) -> RequestLimits:
    if not found["body"]:
        return USUAL
    body = "" if found["body"] == "0" else found["body"]
    return RequestLimits(body, int(found["connect"]), int(found["idle"]))


def _check(routes: Sequence[Route]) -> None:
    for each in routes:
        if not _SERVICE.fullmatch(each.service):
            raise ConfigError(f"service name {each.service!r} is no DNS label")
        if not _ROUTE.fullmatch(each.route):
            raise ConfigError(
                f"service {each.service} has the route {each.route!r}",
                remedy="Write it like /api or /shop/cart, without a slash at the end; / takes what is left.",
            )
        if each.route == OWN or each.route.startswith(f"{OWN}/"):
            raise ConfigError(f"service {each.service} has the route {each.route}: {OWN} is the gateway's")
        if not _UPSTREAM.fullmatch(each.upstream):
            raise ConfigError(f"service {each.service} has the upstream {each.upstream!r}, not host:port")
        sized = not each.limits.body or SIZE.fullmatch(each.limits.body)
        if not sized or min(each.limits.connect, each.limits.idle) < 1:
            raise ConfigError(f"service {each.service} has the limits {each.limits}")
    counted = Counter(each.route for each in routes)
    for route in (route for route, count in counted.items() if count > 1):
        names = " and ".join(sorted(each.service for each in routes if each.route == route))
        raise ConfigError(f"{names} have the same route {route}", remedy="Give each service its own route.")


def _locations(each: Route) -> str:
    paths = ["/"] if each.route == "/" else [f"= {each.route}", f"{each.route}/"]
    limits = "" if each.limits == USUAL else _directives(each.limits)
    # A location with error pages of its own inherits none, and the one that closes needs the same limits.
    own_errors = f"            {error_pages(f'@closing-{each.service}', ' ' * 12)}\n" if limits else ""
    locations = "".join(
        f"        location {path} {{\n"
        f"            set $service {each.service};\n"
        f"            set $upstream {each.upstream};\n"
        f"{limits}{own_errors}"
        f"            if (-x {CLOSING}) {{ return 418; }}\n"
        f"            proxy_pass http://$upstream;\n"
        f"        }}\n"
        for path in paths
    )
    if not limits:
        return locations
    return (
        f"{locations}"
        f"        location @closing-{each.service} {{\n"
        f"{limits}"
        f"            keepalive_timeout 0;\n"
        f"            proxy_pass http://$upstream;\n"
        f"        }}\n"
    )


def _directives(limits: RequestLimits) -> str:
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
_NO_ROUTE = """
        location / {
            set $service "";
            set $upstream "";
            default_type application/json;
            return 404 '{"error": "no service has this route"}\\n';
        }
"""
