"""The part of the gateway's Envoy configuration that leads requests to clusters: its table of routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slipway._internal.commands.envoy_clusters import cluster_name
from slipway._internal.commands.envoy_filters import BUFFER_FILTER
from slipway._internal.commands.envoy_messages import JsonObject, set_header, typed
from slipway._internal.commands.gateway_route import Route
from slipway._internal.model.routes import (
    ENCODED_DOT_SEGMENT,
    OWN_PATH,
    PREFIX_HEADER,
    RouteSettings,
    written_otherwise,
)

ROUTE_TABLE = "routes"
METADATA = "slipway"
"""Where the table says for Slipway what it was made of."""
IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
"""Methods of requests that may be sent to another container although the first may have begun to handle them."""
MAX_UNKNOWN_BODY_BYTES = 16 << 20
"""The largest body without a Content-Length that a service with a limit takes: Envoy holds it until it is whole."""
MAX_INT64 = (1 << 63) - 1
SIZE_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def route_configuration(ordered: Sequence[Route], metadata: JsonObject) -> JsonObject:
    table = [*_own_routes(), *(entry for route in ordered for entry in _service_routes(route))]
    if all(route.path != "/" or route.settings.methods for route in ordered):
        table.append(_answer({"prefix": "/"}, 404, '{"error": "no service has this route"}\n'))
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=ROUTE_TABLE,
        virtual_hosts=[{"name": "all", "domains": ["*"], "routes": table}],
        metadata={"filter_metadata": {METADATA: metadata}},
        request_headers_to_remove=["x-envoy-external-address"],
        request_headers_to_add=[
            set_header("X-Real-IP", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
            set_header("X-Forwarded-Host", "%REQ(:AUTHORITY)%"),
            {
                "header": {"key": "X-Forwarded-For", "value": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"},
                "append_action": "APPEND_IF_EXISTS_OR_ADD",
            },
        ],
    )


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
        "response_headers_to_add": [set_header("Content-Type", "application/json")],
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
        filters = {"typed_per_filter_config": {BUFFER_FILTER: held}}
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
    return [set_header(name, value.replace("%", "%%")) for name, value in headers.items()]
