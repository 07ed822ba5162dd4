"""The part of the gateway's Envoy configuration that leads requests to clusters: its table of routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slipway._internal.commands import envoy_maintenance, openapi_page
from slipway._internal.commands.envoy_acme import challenge_routes
from slipway._internal.commands.envoy_auth import RouteGuard
from slipway._internal.commands.envoy_clusters import canary_cluster_name, cluster_name
from slipway._internal.commands.envoy_filters import BUFFER_FILTER
from slipway._internal.commands.envoy_messages import JsonObject, set_header, typed
from slipway._internal.commands.envoy_rules import (
    METADATA,
    filter_settings,
    has_method,
    limit_metadata,
    limits_switch,
    preflight_headers,
    retry_policy,
    route_name,
    upgrades,
)
from slipway._internal.commands.envoy_tls import TLS_MARK, misdirected, redirection
from slipway._internal.commands.gateway_options import DescribedApi, GatewayOptions, TlsOptions
from slipway._internal.commands.gateway_route import Route
from slipway._internal.model.hosts import ANY_HOST, GATEWAY_HOST, by_host
from slipway._internal.model.routes import (
    ENCODED_DOT_SEGMENT,
    OWN_PATH,
    PREFIX_HEADER,
    RouteSettings,
    written_otherwise,
)

ROUTE_TABLE = "routes"
BODY_MARK = "x-slipway-body"
"""The header by which the table of routes knows a body without a size: Envoy hides Transfer-Encoding from it."""
IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
"""Methods of requests that may be sent to another container although the first may have begun to handle them."""
MAX_UNKNOWN_BODY_BYTES = 16 << 20
"""The largest body without a Content-Length that a service with a limit takes: Envoy holds it until it is whole."""
MAX_INT64 = (1 << 63) - 1
SIZE_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def route_configuration(ordered: Sequence[Route], options: GatewayOptions, metadata: JsonObject) -> JsonObject:
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=ROUTE_TABLE,
        virtual_hosts=_virtual_hosts(ordered, options),
        ignore_port_in_host_matching=True,
        max_direct_response_body_size_bytes=envoy_maintenance.MAX_PAGE_BYTES,
        **limits_switch(ordered),
        metadata={"filter_metadata": {METADATA: metadata}},
        request_headers_to_remove=["x-envoy-external-address", TLS_MARK, BODY_MARK],
        request_headers_to_add=[
            set_header("X-Real-IP", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
            set_header("X-Forwarded-Host", "%REQ(:AUTHORITY)%"),
            {
                "header": {"key": "X-Forwarded-For", "value": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"},
                "append_action": "APPEND_IF_EXISTS_OR_ADD",
            },
        ],
    )


def _virtual_hosts(ordered: Sequence[Route], options: GatewayOptions) -> list[JsonObject]:
    """Return the table of each host. Services of the stack reach what is for its own host by the gateway's name."""
    guard = RouteGuard.of(ordered, options)
    tables = by_host(ordered, lambda route: route.settings.host, options.hosts)
    own = tables.get(next(iter(options.hosts), ANY_HOST), [])
    others = [] if ANY_HOST in tables or not tables else [misdirected(), _answer_json(404, "no service has this host")]
    found = [
        {
            "name": host,
            "domains": _spellings(host),
            # Before all else: no rule, redirect or maintenance may keep an authority from its answer.
            "routes": [
                *challenge_routes(options.challenges),
                *_own_routes(options.tls, options.apis),
                *_table(routes, options, guard),
            ],
        }
        for host, routes in tables.items()
        if host != ANY_HOST
    ]
    if options.hosts or options.tls:
        found.append(
            {
                "name": "gateway",
                "domains": _spellings(GATEWAY_HOST),
                "routes": [*_own_routes(), *_table(own, options, guard)],
            }
        )
    rest = others or _table(tables.get(ANY_HOST, []), options, guard)
    found.append({"name": "all", "domains": ["*"], "routes": [*_own_routes(options.tls, options.apis), *rest]})
    return [{**table, **guard.host_fields} for table in found]


def _spellings(host: str) -> list[str]:
    return [host, f"{host}."]


def _table(routes: Sequence[Route], options: GatewayOptions, guard: RouteGuard) -> list[JsonObject]:
    maintenance = options.maintenance
    if maintenance and not maintenance.services:
        return envoy_maintenance.for_everything(maintenance)
    table = []
    for route in routes:
        entries = _service_routes(route)
        is_down = maintenance and route.service in maintenance.services
        if maintenance and is_down:
            table += envoy_maintenance.for_service(entries, maintenance)
        else:
            table += guard.guarded(route, entries)
    if all(route.path != "/" or route.settings.methods for route in routes):
        table.append(_answer_json(404, "no service has this route"))
    return table


def _answer_json(status: int, words: str) -> JsonObject:
    return _answer({"prefix": "/"}, status, f'{{"error": "{words}"}}\n')


def _page_of_apis(apis: Sequence[DescribedApi]) -> list[JsonObject]:
    """Return the routes of the page that shows what the services answer."""
    if not apis:
        return []
    page = _answer({"path": f"{OWN_PATH}/docs"}, 200, openapi_page.read_page())
    policy = set_header("Content-Security-Policy", openapi_page.content_policy())
    page["response_headers_to_add"] = [set_header("Content-Type", "text/html; charset=utf-8"), policy]
    return [page, _answer({"path": f"{OWN_PATH}/docs.json"}, 200, openapi_page.list_apis(apis))]


def _own_routes(tls: TlsOptions | None = None, apis: Sequence[DescribedApi] = ()) -> list[JsonObject]:
    """Return what the gateway answers itself; one that speaks TLS answers its health alone without."""
    return [
        _refusal({"safe_regex": {"regex": ENCODED_DOT_SEGMENT}}, 400),
        _answer({"path": f"{OWN_PATH}/health"}, 200, '{"status": "ok"}\n'),
        *([redirection(tls)] if tls else []),
        *_page_of_apis(apis),
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
    """Return the entries of a route; all have what its rules turn on, also those that refuse a request."""
    turned_on = filter_settings(route)
    found = []
    for entry in [*_preflight_routes(route), *_plain_routes(route)]:
        filters = turned_on | entry.get("typed_per_filter_config", {})
        whole = {"metadata": _metadata(route, counted=False)} | entry
        found.append(whole | ({"typed_per_filter_config": filters} if filters else {}))
    return found


def _preflight_routes(route: Route) -> list[JsonObject]:
    """Return the entries that let the gateway answer browsers, whatever methods the route takes."""
    if not route.settings.cors:
        return []
    # The filter answers all of them, but only of routes that lead somewhere.
    return [
        {"match": _narrowed(path, *preflight_headers(route)), "route": {"cluster": cluster_name(route.upstream)}}
        for path in _paths(route)
    ]


def _paths(route: Route) -> list[JsonObject]:
    return [{"prefix": "/"}] if route.path == "/" else [{"path": route.path}, {"prefix": f"{route.path}/"}]


def _plain_routes(route: Route) -> list[JsonObject]:
    taken = [has_method(route.settings.methods)] if route.settings.methods else []
    entries: list[JsonObject] = []
    if route.path != "/" and route.settings.service_path == "/":
        # What would be left, //host/…, is to many programs and browsers another host's address.
        entries.append(_refusal(_narrowed({"prefix": f"{route.path}//"}, *taken), 400))
    for match in (_narrowed(path, *taken) for path in _paths(route)):
        entries += [_redirection(route, match)] if route.settings.redirect else _forwarding_routes(route, match)
    if route.path != "/":
        otherwise = {"safe_regex": {"regex": written_otherwise(route.path)}}
        entries.append(_refusal(_narrowed(otherwise, *taken), 400))
    return entries


def _forwarding_routes(route: Route, match: JsonObject) -> list[JsonObject]:
    """Return the entries that send a path's requests to its service; what comes first is tried first."""
    entries: list[JsonObject] = []
    filters: JsonObject = {}
    if _may_keep(route):
        entries.append(_forward(route, _narrowed(match, *_KEPT), repeatable=True, keeps=True))
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
    for headers, repeatable in (([has_method(IDEMPOTENT_METHODS)], True), ([], False)):
        if filters:
            entries.append(_forward(route, _narrowed(match, *headers, *unsized), repeatable) | filters)
        entries.append(_forward(route, _narrowed(match, *headers), repeatable))
    return entries


def _may_keep(route: Route) -> bool:
    """Whether a request that meets a connection which its service is just closing is sent again."""
    retries = route.settings.retry_policy
    return retries is not None and "reset" in retries.on


def _narrowed(match: JsonObject, *headers: JsonObject) -> JsonObject:
    """Return a match that asks for more of a request's headers."""
    wanted = [*match.get("headers", ()), *headers]
    return {**match, "headers": wanted} if wanted else match


def _lacks(header: str) -> JsonObject:
    return {"name": header, "present_match": True, "invert_match": True}


# What may use a connection that others used before. It can be sent again, and has no body: a service that does not read
# one takes its bytes for the next request, which would be another caller's. To HEAD some send a body, which would be
# taken for the next answer. In HTTP/2 and 3 no header tells whether there is a body.
_KEPT = [
    has_method(["GET"]),
    *(_lacks(name) for name in ("content-length", BODY_MARK, "upgrade")),
    {
        "name": TLS_MARK,
        "string_match": {"safe_regex": {"regex": r"(HTTP/1\.[01])?"}},
        "treat_missing_header_as_empty": True,
    },
]


def _forward(route: Route, match: JsonObject, repeatable: bool, *, keeps: bool = False) -> JsonObject:
    return {
        "match": match,
        "metadata": _metadata(route),
        **_header_changes(route.settings),
        "route": {
            **_destination(route, keeps=keeps),
            "timeout": f"{route.settings.timeout or 0}s",
            **_path_change(route, match, route.settings.service_path),
            "idle_timeout": f"{route.limits.idle}s",
            # A service may have several containers, which its name leads to. A request that one of them could not take,
            # or dropped before an answer although it may be repeated, goes to another one; not one that takes long.
            **retry_policy(route.settings.retry_policy, repeatable=repeatable),
            **upgrades(route.settings),
        },
    }


def _destination(route: Route, *, keeps: bool) -> JsonObject:
    """Return where a route's requests go. With a canary, each is drawn anew: who calls again may get the other version.

    The weights are the route's, not those of addresses in one cluster: so a step changes this file alone, no cluster
    begins anew, and the shares do not depend on how many containers a service has.
    """
    stable = cluster_name(route.upstream, keeps=keeps)
    if not route.canary:
        return {"cluster": stable}
    canary = canary_cluster_name(route.canary, keeps=keeps)
    weights = {stable: 100 - route.canary.percent, canary: route.canary.percent}
    return {"weighted_clusters": {"clusters": [{"name": name, "weight": weight} for name, weight in weights.items()]}}


def _metadata(route: Route, *, counted: bool = True) -> JsonObject:
    """Return what error pages, logs and, of what is counted, limits read of a route."""
    said = {"service": route.service, "route": route_name(route), **(limit_metadata(route) if counted else {})}
    return {"filter_metadata": {METADATA: said}}


def _redirection(route: Route, match: JsonObject) -> JsonObject:
    """Return the entry that sends callers elsewhere."""
    redirect = route.settings.redirect
    assert redirect
    where = {"scheme_redirect": redirect.scheme, "host_redirect": redirect.host}
    return {
        "match": match,
        "metadata": _metadata(route),
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
    """Return the entries that set headers, in an order that is read back. Doubled, a per cent sign is no variable's."""
    return [set_header(name, value.replace("%", "%%")) for name, value in sorted(headers.items())]
