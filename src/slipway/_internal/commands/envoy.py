"""Builds the gateway's Envoy configuration: a pure function from routes to the files that Envoy watches.

Envoy takes up each file anew when another is moved over it. Clusters are named after where requests are sent, so that
a switch is: add the new clusters, change the routes, remove the old clusters; requests in flight end on the old ones.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, groupby
from typing import Any

import msgspec

from slipway._internal.commands import envoy_listener as listener
from slipway._internal.commands.envoy_listener import LISTEN_PORT, ROUTE_TABLE, typed
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.parsing import convert
from slipway._internal.model.request_limits import BODY_SIZE, DEFAULT_LIMITS, RequestLimits
from slipway._internal.model.routes import (
    ENCODED_DOT_SEGMENT,
    OWN_PATH,
    PATH,
    PREFIX_HEADER,
    RouteSettings,
    is_own_path,
    overlap,
    precedence,
    written_otherwise,
)

__all__ = ["LISTEN_PORT", "ROUTE_TABLE", "Route", "parse_config", "render_config", "render_transition"]

BOOTSTRAP, LISTENERS, CLUSTERS, ROUTES = "bootstrap.json", "listeners.json", "clusters.json", "routes.json"
"""The names of the configuration's files. Envoy reads the first at its start only, and watches the others."""
METADATA = "slipway"
IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
"""Methods of requests that may be sent to another container although the first may have begun to handle them."""
MAX_UNKNOWN_BODY_BYTES = 16 << 20
"""The largest body without a Content-Length that a service with a limit takes: Envoy holds it until it is whole."""
MAX_INT64 = (1 << 63) - 1
UNLIMITED = 1_000_000
SIZE_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

_SERVICE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_UPSTREAM = re.compile(r"[a-z0-9][a-z0-9._-]*:[0-9]{1,5}", re.IGNORECASE)

JsonObject = dict[str, Any]


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
    """

    service: str
    path: str
    upstream: str
    limits: RequestLimits = DEFAULT_LIMITS
    health: str = ""
    rules: RouteSettings | None = None

    @property
    def settings(self) -> RouteSettings:
        """The route as a service.toml has it."""
        return self.rules or RouteSettings(path=self.path)


def render_config(routes: Sequence[Route]) -> dict[str, str]:
    """Return the files of the configuration for these routes, by name.

    A host that does not exist (yet) costs its own route a 502 and nothing else.

    Args:
        routes: in any order.

    Raises:
        ConfigError: a route, name or upstream that can't stand in the files, or two services with one route.
    """
    _check_routes(routes)
    ordered = sorted(routes, key=_precedence_of)
    return {
        BOOTSTRAP: _to_text(listener.bootstrap(CLUSTERS, LISTENERS)),
        LISTENERS: _discovery_response([listener.listener(ROUTES)]),
        CLUSTERS: _discovery_response(_clusters(ordered)),
        ROUTES: _discovery_response([_route_configuration(ordered)]),
    }


def render_transition(old: Sequence[Route], new: Sequence[Route]) -> str:
    """Return the clusters' file for the time of a switch: both the old routes' clusters and the new ones'."""
    return _discovery_response(_clusters([*new, *old]))


def parse_config(files: Mapping[str, str]) -> tuple[Route, ...]:
    """Return the routes of a configuration that `render_config` wrote.

    Raises:
        ConfigError: it is somebody else's.
    """
    try:
        [table] = json.loads(files[ROUTES])["resources"]
        found = table["metadata"]["filter_metadata"][METADATA]["routes"]
        routes = tuple(_parse_route(entry) for entry in found)
        own = render_config(routes)
    except (AttributeError, ConfigError, KeyError, RecursionError, TypeError, ValueError):
        own = {}
    if not own or own != dict(files):
        raise ConfigError("the gateway's configuration is not as this version of Slipway writes it")
    return routes


def _parse_route(entry: JsonObject) -> Route:
    rules = entry["rules"] and convert(entry["rules"], RouteSettings)
    return Route(**{**entry, "limits": RequestLimits(**entry["limits"]), "rules": rules})


def version_of(text: str) -> str:
    """Return the version that a watched file names; Envoy tells it back once it has accepted the file."""
    return str(json.loads(text)["version_info"])


def cluster_name(upstream: str) -> str:
    """Return the name of the cluster that sends requests to an upstream, as in Envoy's statistics."""
    return upstream.replace(":", "_")


def _check_routes(routes: Sequence[Route]) -> None:
    for route in routes:
        if not _SERVICE.fullmatch(route.service):
            raise ConfigError(f"service name {route.service!r} is not a DNS label")
        if not PATH.fullmatch(route.path):
            raise ConfigError(
                f"service {route.service} has the route {route.path!r}",
                remedy="Write it like /api or /shop/cart, without a slash at the end; / takes everything else.",
            )
        if is_own_path(route.path):
            raise ConfigError(f"service {route.service} has the route {route.path}: {OWN_PATH} is the gateway's")
        if not _UPSTREAM.fullmatch(route.upstream):
            raise ConfigError(f"service {route.service} has the upstream {route.upstream!r}, not host:port")
        sized = not route.limits.body or BODY_SIZE.fullmatch(route.limits.body)
        if not sized or min(route.limits.connect, route.limits.idle) < 1:
            raise ConfigError(f"service {route.service} has the limits {route.limits}")
    for path, same in groupby(sorted(routes, key=_precedence_of), key=lambda route: route.path):
        for one, other in combinations(same, 2):
            if overlap(one.settings, other.settings):
                names = " and ".join(sorted((one.service, other.service)))
                raise ConfigError(f"{names} have the same route {path}", remedy="Give each service its own route.")


def _precedence_of(route: Route) -> tuple[int, str]:
    return precedence(route.path)


def _to_text(value: JsonObject) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def _discovery_response(resources: Sequence[JsonObject]) -> str:
    digest = hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:16]
    return _to_text({"version_info": digest, "resources": list(resources)})


def _clusters(routes: Sequence[Route]) -> list[JsonObject]:
    """Return a cluster for each upstream; of two routes to the same one, the first decides."""
    clusters: dict[str, JsonObject] = {}
    for route in routes:
        clusters.setdefault(route.upstream, _cluster(route))
    return [clusters[upstream] for upstream in sorted(clusters)]


def _cluster(route: Route) -> JsonObject:
    host, _, port = route.upstream.rpartition(":")
    endpoint = {"address": {"socket_address": {"address": host, "port_value": int(port)}}}
    name = cluster_name(route.upstream)
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=name,
        cluster_type={"name": "envoy.cluster.dns", "typed_config": listener.dns_cluster()},
        lb_policy="LEAST_REQUEST",
        load_assignment={"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        connect_timeout=f"{route.limits.connect}s",
        per_connection_buffer_limit_bytes=64 << 10,
        # Who is gone from DNS is asked no more, whatever the health checks found last.
        ignore_health_on_host_removal=True,
        health_checks=[_health_check(route)],
        outlier_detection=_OUTLIER_DETECTION,
        # Only where none is healthy, all are asked: a check that fails must not take a service down by itself.
        common_lb_config={"healthy_panic_threshold": {"value": 1}},
        circuit_breakers={
            "thresholds": [
                dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), UNLIMITED)
            ]
        },
        typed_extension_protocol_options={"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _HTTP_TO_SERVICES},
    )


# A connection for each request: none can meet a kept connection that its service is just closing, where a request that
# may not be repeated would be lost.
_HTTP_TO_SERVICES = typed(
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    common_http_protocol_options={
        "max_requests_per_connection": 1,
        "max_headers_count": listener.MAX_HEADERS,
        "max_response_headers_kb": listener.MAX_RESPONSE_HEADERS_KB,
    },
    explicit_http_config={"http_protocol_options": {}},
)
# What a service answers itself, 500 or not, is no reason to send it no requests; a connection that fails is.
_OUTLIER_DETECTION: JsonObject = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 2,
    "enforcing_consecutive_local_origin_failure": 100,
    "enforcing_consecutive_5xx": 0,
    "enforcing_consecutive_gateway_failure": 0,
    "enforcing_success_rate": 0,
    "enforcing_local_origin_success_rate": 0,
    "interval": "1s",
    "base_ejection_time": "1s",
    "max_ejection_time": "10s",
    "max_ejection_percent": 100,
}


def _health_check(route: Route) -> JsonObject:
    how: JsonObject = {"tcp_health_check": {}}
    if route.health:
        how = {"http_health_check": {"path": route.health, "host": "localhost"}}
    return {
        "timeout": "2s",
        "interval": "5s",
        "no_traffic_interval": "5s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "reuse_connection": False,
        **how,
    }


def _route_configuration(ordered: Sequence[Route]) -> JsonObject:
    table = [*_own_routes(), *(entry for route in ordered for entry in _service_routes(route))]
    if all(route.path != "/" or route.settings.methods for route in ordered):
        table.append(_answer({"prefix": "/"}, 404, '{"error": "no service has this route"}\n'))
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=ROUTE_TABLE,
        virtual_hosts=[{"name": "all", "domains": ["*"], "routes": table}],
        metadata={"filter_metadata": {METADATA: {"routes": [_entry(route) for route in ordered]}}},
        request_headers_to_remove=["x-envoy-external-address"],
        request_headers_to_add=[
            listener.set_header("X-Real-IP", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
            listener.set_header("X-Forwarded-Host", "%REQ(:AUTHORITY)%"),
            {
                "header": {"key": "X-Forwarded-For", "value": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"},
                "append_action": "APPEND_IF_EXISTS_OR_ADD",
            },
        ],
    )


def _entry(route: Route) -> JsonObject:
    return {**asdict(route), "rules": msgspec.to_builtins(route.rules)}


def _own_routes() -> list[JsonObject]:
    return [
        _refusal({"safe_regex": {"regex": ENCODED_DOT_SEGMENT}}, 400),
        _answer({"path": f"{OWN_PATH}/health"}, 200, '{"status": "ok"}\n'),
        _answer({"prefix": f"{OWN_PATH}/"}, 404, '{"error": "not found"}\n'),
    ]


def _answer(match: JsonObject, status: int, body: str) -> JsonObject:
    return {
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": body}},
        "response_headers_to_add": [listener.set_header("Content-Type", "application/json")],
    }


def _refusal(match: JsonObject, status: int) -> JsonObject:
    """Return a route that turns requests down; the listener gives such answers their form."""
    return {"match": match, "direct_response": {"status": status}}


def _service_routes(route: Route) -> list[JsonObject]:
    taken = [_has_method(route.settings.methods)] if route.settings.methods else []
    paths: list[JsonObject] = [{"prefix": "/"}]
    if route.path != "/":
        paths = [{"path": route.path}, {"prefix": f"{route.path}/"}]
    entries: list[JsonObject] = []
    if route.path != "/" and route.settings.service_path == "/":
        # What would be left, //host/…, is to many programs and browsers another host's address.
        entries.append(_refusal(_narrowed({"prefix": f"{route.path}//"}, *taken), 400))
    for match in (_narrowed(path, *taken) for path in paths):
        entries += [_redirection(route, match)] if route.settings.redirect else _forwarding_routes(route, match)
    if route.path != "/":
        otherwise = {"safe_regex": {"regex": written_otherwise(route.path)}}
        entries.append(_refusal(_narrowed(otherwise, *taken), 400))
    return entries


def _forwarding_routes(route: Route, match: JsonObject) -> list[JsonObject]:
    """Return the entries that send a path's requests to its service; what comes first is tried first."""
    entries: list[JsonObject] = []
    filters: JsonObject = {}
    if route.limits.body:
        limit = int(route.limits.body[:-1]) * SIZE_UNITS[route.limits.body[-1]]
        too_large = {"name": "content-length", "range_match": {"start": limit + 1, "end": MAX_INT64}}
        entries.append(_refusal(_narrowed(match, too_large), 413))
        unsized = [_lacks(name) for name in ("content-length", "upgrade")]
        held = typed(
            "envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
            buffer={"max_request_bytes": min(limit, MAX_UNKNOWN_BODY_BYTES)},
        )
        filters = {"typed_per_filter_config": {listener.BUFFER_FILTER: held}}
    for headers, repeatable in (([_has_method(IDEMPOTENT_METHODS)], True), ([], False)):
        if filters:
            entries.append(_forward(route, _narrowed(match, *headers, *unsized), repeatable) | filters)
        entries.append(_forward(route, _narrowed(match, *headers), repeatable))
    return entries


def _narrowed(match: JsonObject, *headers: JsonObject) -> JsonObject:
    """Return a match that asks for more of a request's headers."""
    wanted = [*match.get("headers", ()), *headers]
    return {**match, "headers": wanted} if wanted else match


def _has_method(methods: Sequence[str]) -> JsonObject:
    return {"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(methods)}}}


def _lacks(header: str) -> JsonObject:
    return {"name": header, "present_match": True, "invert_match": True}


def _forward(route: Route, match: JsonObject, repeatable: bool) -> JsonObject:
    conditions = ["connect-failure", "refused-stream", "reset-before-request", *(["reset"] if repeatable else [])]
    return {
        "match": match,
        "metadata": {"filter_metadata": {METADATA: {"service": route.service}}},
        **_header_changes(route.settings),
        "route": {
            "cluster": cluster_name(route.upstream),
            "timeout": f"{route.settings.timeout or 0}s",
            **_path_change(route, match, route.settings.service_path),
            "idle_timeout": f"{route.limits.idle}s",
            # A service may have several containers, which its name leads to. A request that one of them could not take,
            # or dropped before an answer although it may be repeated, goes to another one; not one that takes long.
            "retry_policy": {
                "retry_on": ",".join(conditions),
                "num_retries": 4,
                "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.25s"},
                "retry_host_predicate": [
                    {
                        "name": "envoy.retry_host_predicates.previous_hosts",
                        "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
                    }
                ],
                "host_selection_retry_max_attempts": 5,
            },
        },
    }


def _redirection(route: Route, match: JsonObject) -> JsonObject:
    """Return the entry that sends callers elsewhere."""
    redirect = route.settings.redirect
    assert redirect
    where = {"scheme_redirect": redirect.scheme, "host_redirect": redirect.host}
    return {
        "match": match,
        **_header_changes(route.settings),
        "redirect": {
            **{name: value for name, value in where.items() if value},
            **_path_change(route, match, redirect.path or route.path),
            "response_code": {301: "MOVED_PERMANENTLY", 302: "FOUND"}[redirect.status],
        },
    }


def _path_change(route: Route, match: JsonObject, path: str) -> JsonObject:
    """Return what puts a path in the place of the route's own; what a match has found is replaced in whole."""
    if path == route.path:
        return {}
    return {"prefix_rewrite": path if "path" in match else f"{path.rstrip('/')}/"}


def _header_changes(settings: RouteSettings) -> JsonObject:
    sent = dict(settings.request_headers.set)
    if settings.stripped_prefix:
        sent[PREFIX_HEADER] = settings.stripped_prefix
    changes = {
        "request_headers_to_add": _set_headers(sent),
        "request_headers_to_remove": list(settings.request_headers.remove),
        "response_headers_to_add": _set_headers(settings.response_headers.set),
        "response_headers_to_remove": list(settings.response_headers.remove),
    }
    return {name: value for name, value in changes.items() if value}


def _set_headers(headers: Mapping[str, str]) -> list[JsonObject]:
    """Return the entries that set headers. Doubled, a per cent sign is no variable's."""
    return [listener.set_header(name, value.replace("%", "%%")) for name, value in headers.items()]
