"""Builds the gateway's nginx.conf: a pure function from routes to text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from slipway.model.errors import ConfigError

LISTEN = 8080
OWN = "/.slipway"  # what the gateway answers itself lives below this path
CLOSING = "/etc/slipway/closing"  # while this is executable, client connections end with each answer

_SERVICE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_ROUTE = re.compile(r"/|(/[A-Za-z0-9._~-]+)+")
_DRAIN = re.compile(r"^worker_shutdown_timeout ([0-9]+)s;$", re.MULTILINE)
_LOCATION = re.compile(
    r"^        location (?:= )?(?P<route>/|(?<== )/\S+) \{\n"
    r"            set \$service (?P<service>[^\s\";]+);\n"
    r"            set \$upstream (?P<upstream>[^\s\";]+);$",
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
    """

    service: str
    route: str
    upstream: str


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
    return _FRAME.replace("@drain@", str(drain_seconds)).replace("@locations@", locations + catch_all)


def read_back(text: str) -> tuple[tuple[Route, ...], int]:
    """Return the routes and the seconds to drain of a configuration that `config` wrote.

    Raises:
        ConfigError: it is somebody else's.
    """
    drain = _DRAIN.search(text)
    routes = tuple(Route(found["service"], found["route"], found["upstream"]) for found in _LOCATION.finditer(text))
    if not drain or config(routes, drain_seconds=int(drain[1])) != text:
        raise ConfigError("the gateway's nginx.conf is not as this version of Slipway writes it")
    return routes, int(drain[1])


def differ_in_upstreams_alone(one: str, other: str) -> bool:
    """Whether `config` wrote both, and they differ in nothing but where requests are sent."""
    try:
        (routes, drain), (others, other_drain) = read_back(one), read_back(other)
    except ConfigError:
        return False
    served = {each.service: each.route for each in routes}
    return drain == other_drain and served == {each.service: each.route for each in others}


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
    counted = Counter(each.route for each in routes)
    for route in (route for route, count in counted.items() if count > 1):
        names = " and ".join(sorted(each.service for each in routes if each.route == route))
        raise ConfigError(f"{names} have the same route {route}", remedy="Give each service its own route.")


def _locations(each: Route) -> str:
    paths = ["/"] if each.route == "/" else [f"= {each.route}", f"{each.route}/"]
    return "".join(
        f"        location {path} {{\n"
        f"            set $service {each.service};\n"
        f"            set $upstream {each.upstream};\n"
        f"            if (-x {CLOSING}) {{ return 418; }}\n"
        f"            proxy_pass http://$upstream;\n"
        f"        }}\n"
        for path in paths
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

_FRAME = f"""\
# Written by Slipway; the next deployment writes it anew.
worker_processes auto;
worker_shutdown_timeout @drain@s;
pid /tmp/nginx.pid;
error_log stderr notice;

events {{
    worker_connections 4096;
}}

http {{
    server_tokens off;
    log_format access '$remote_addr "$request" $status $body_bytes_sent ${{request_time}}s '
                      'to $upstream_addr $request_id';
    access_log /dev/stdout access;

    # The root file system is read-only, and /tmp is memory: nothing large may end up there.
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    proxy_max_temp_file_size 0;
    proxy_request_buffering off;
    client_max_body_size 100m;

    # The engine's own DNS: a container that comes back with another address is found within a second.
    resolver 127.0.0.11 valid=1s ipv6=off;
    resolver_timeout 2s;

    map $http_upgrade $upgrade_or_close {{
        default upgrade;
        ""      close;
    }}
    map $http_x_forwarded_proto $forwarded_proto {{
        default $http_x_forwarded_proto;
        ""      $scheme;
    }}
    map $http_accept $format {{
        default      json;
        ~*text/html  html;
    }}

    proxy_http_version 1.1;
    proxy_connect_timeout 3s;
    proxy_send_timeout 60s;
    proxy_read_timeout 300s;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $upgrade_or_close;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto $forwarded_proto;
    proxy_set_header X-Request-ID $request_id;

    server {{
        listen {LISTEN};

        # A reload closes kept connections, and a request that is just coming in on one would be lost; before
        # it, they are ended in order, with the answer to their next request.
        error_page 418 = @closing;
        recursive_error_pages on;
        location @closing {{
            keepalive_timeout 0;
            proxy_pass http://$upstream;
        }}

        # On an error's way the status stays what it was: the 200 below is never sent.
        error_page 502 503 504 {OWN}/down.$format;
        location = {OWN}/down.json {{
            internal;
            default_type application/json;
            return 200 '{{"error": "service unavailable", "service": "$service", "status": $status}}\n';
        }}
        location = {OWN}/down.html {{
            internal;
            default_type text/html;
            return 200 '<!doctype html><title>$service is down</title><h1>$service is down</h1>
<p>The gateway is up, the service <b>$service</b> did not answer. Try again in a moment.</p>\n';
        }}

        location = {OWN}/health {{
            access_log off;
            default_type application/json;
            return 200 '{{"status": "ok"}}\n';
        }}
        location {OWN}/ {{
            return 404;
        }}

@locations@
    }}
}}
"""
