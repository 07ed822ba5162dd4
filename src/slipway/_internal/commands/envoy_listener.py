"""The part of the gateway's Envoy configuration that is the same for all routes: listener, headers, error pages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from slipway._internal.commands import envoy_maintenance
from slipway._internal.commands.envoy_access_log import access_log
from slipway._internal.commands.envoy_auth import early_removals
from slipway._internal.commands.envoy_clusters import MAX_HEADERS
from slipway._internal.commands.envoy_filters import CALLER_SCHEME_HEADER, NEW_ID_HEADER, OWN_HEADERS, http_filters
from slipway._internal.commands.envoy_messages import JsonObject, set_header, typed
from slipway._internal.commands.envoy_metrics import METRICS_PORT, metrics_manager
from slipway._internal.commands.envoy_routes import BODY_MARK, ROUTE_TABLE
from slipway._internal.commands.envoy_rules import UPGRADES
from slipway._internal.commands.envoy_tls import (
    HTTP2_LIMITS,
    HTTP2_RUNTIME,
    HTTP3_LIMITS,
    TLS_MARK,
    TLS_PORT,
    quic_socket,
    secure_headers,
    transport_socket,
)
from slipway._internal.commands.envoy_traces import tracing
from slipway._internal.commands.gateway_options import GatewayOptions
from slipway._internal.model.routes import OWN_PATH

LISTEN_PORT = 8080
CONFIG_DIR = "/etc/slipway"
ADMIN_SOCKET = "/tmp/admin.sock"  # noqa: S108 - the container's own
SERVER_NAME = "slipway"

MAX_REQUEST_HEADERS_KB = 96
MAX_CONNECTIONS = 50_000
KEEPALIVE_SECONDS = 75
HEADER_SECONDS = 60
IGNORED_UPGRADES = ("h2c", "HTTP/", "TLS/")
"""What clients offer without need: they are answered as if they had not."""

TRUSTED_HEADERS = (
    "X-Real-IP",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Request-ID",
    "Content-Length",
    "Content-Type",
    "Transfer-Encoding",
)
"""Headers that services believe. Many servers take `X_Real_IP` for the same, so the caller's is dropped."""
ENVOY_HEADERS = "x-envoy-"
"""What headers start with by which Envoy could be told what to do."""

REFUSALS = {
    400: "bad request",
    401: "unauthorized",
    403: "forbidden",
    405: "method not allowed",
    408: "request took too long",
    411: "length required",
    413: "request body too large",
    414: "URL too long",
    429: "too many requests",
    431: "request headers too large",
    500: "internal error",
}
"""Statuses by which the gateway itself turns a request down, in words."""


def bootstrap(clusters: str, listeners: str) -> JsonObject:
    """Return what Envoy reads at its start: where its configuration is, and where it may be asked."""
    return {
        "node": {"id": "gateway", "cluster": "slipway"},
        # No port: who is on the stack's network cannot ask it.
        "admin": {"address": {"pipe": {"path": ADMIN_SOCKET, "mode": 0o666}}},
        "dynamic_resources": {"cds_config": watched_file(clusters), "lds_config": watched_file(listeners)},
        "layered_runtime": {
            "layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 4096, **HTTP2_RUNTIME}}]
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": typed(
                        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        max_active_downstream_connections=MAX_CONNECTIONS,
                    ),
                }
            ]
        },
    }


def watched_file(name: str) -> JsonObject:
    """Return a source of configuration: a file that is read again when another one is moved to its place."""
    return {
        "path_config_source": {"path": f"{CONFIG_DIR}/{name}"},
        "resource_api_version": "V3",
        "initial_fetch_timeout": "10s",
    }


def listeners(routes: str, limits: str, certificates: str, options: GatewayOptions) -> list[JsonObject]:
    """Return the listeners, which take their routes, the counters of limits and the certificate from files."""
    filters = http_filters(watched_file(limits))
    found = [_listener("gateway", LISTEN_PORT, _connection_manager(routes, options, filters))]
    if options.tls and options.http3:
        found.append(_quic_listener(routes, filters, certificates, options))
    if options.tls:
        found.append(_secure_listener(routes, filters, certificates, options))
    if options.metrics:
        found.append(_listener("gateway-metrics", METRICS_PORT, metrics_manager()))
    return found


def _secure_listener(
    routes: str, filters: Sequence[JsonObject], certificates: str, options: GatewayOptions
) -> JsonObject:
    secure = _secure_manager(routes, filters, options) | {"codec_type": "AUTO", "http2_protocol_options": HTTP2_LIMITS}
    return _listener("gateway-tls", TLS_PORT, secure, transport_socket(watched_file(certificates)))


def _quic_listener(
    routes: str, filters: Sequence[JsonObject], certificates: str, options: GatewayOptions
) -> JsonObject:
    manager = _secure_manager(routes, filters, options) | {
        "codec_type": "HTTP3",
        "http3_protocol_options": HTTP3_LIMITS,
    }
    found = _listener("gateway-quic", TLS_PORT, manager, quic_socket(watched_file(certificates)))
    found["address"]["socket_address"]["protocol"] = "UDP"
    return found | {"udp_listener_config": {"quic_options": {}, "downstream_socket_config": {"prefer_gro": True}}}


def _secure_manager(routes: str, filters: Sequence[JsonObject], options: GatewayOptions) -> JsonObject:
    return _connection_manager(routes, options, [*secure_headers(options), *filters]) | {
        "early_header_mutation_extensions": [_early_headers([set_header(TLS_MARK, "%PROTOCOL%")])],
    }


def _connection_manager(routes: str, options: GatewayOptions, filters: Sequence[JsonObject]) -> JsonObject:
    # A gateway that speaks TLS itself knows how a request came, and believes nobody.
    believed = [] if options.tls else [set_header(CALLER_SCHEME_HEADER, "%REQ(X-FORWARDED-PROTO)%")]
    return typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="gateway",
        # An upgrade to HTTP/2 in clear text would be a way around the gateway: what follows it would not be looked at.
        codec_type="HTTP1",
        http_protocol_options={
            "accept_http_10": True,
            "default_host_for_http_10": "localhost",
            "ignore_http_11_upgrade": [{"prefix": protocol, "ignore_case": True} for protocol in IGNORED_UPGRADES],
        },
        common_http_protocol_options={
            "idle_timeout": f"{KEEPALIVE_SECONDS}s",
            "max_headers_count": MAX_HEADERS,
            "headers_with_underscores_action": "ALLOW",
        },
        max_request_headers_kb=MAX_REQUEST_HEADERS_KB,
        request_headers_timeout=f"{HEADER_SECONDS}s",
        stream_idle_timeout="300s",
        # Dot segments are resolved, so that a rule of a path holds for all ways to write it; the rest of the path is
        # passed on as it came. Encoded or doubled slashes that would lead to another route are refused, see the routes.
        normalize_path=True,
        merge_slashes=False,
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        # The address of a request is its connection's; nobody is trusted for being on a private network.
        use_remote_address=True,
        skip_xff_append=True,  # for a caller on this machine it would name another address than the connection's
        internal_address_config={"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        generate_request_id=False,
        preserve_external_request_id=True,
        server_name=SERVER_NAME,
        upgrade_configs=[{"upgrade_type": protocol} for protocol in UPGRADES],
        early_header_mutation_extensions=[_early_headers(believed)],
        local_reply_config={"mappers": _error_pages()},
        access_log=[access_log(f"{OWN_PATH}/health")],
        http_filters=list(filters),
        **(tracing(options.traces) if options.traces else {}),
        rds={"route_config_name": ROUTE_TABLE, "config_source": watched_file(routes)},
    )


def _listener(name: str, port: int, manager: JsonObject, socket: JsonObject | None = None) -> JsonObject:
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return typed(
        "envoy.config.listener.v3.Listener",
        name=name,
        address={"socket_address": {"address": "0.0.0.0", "port_value": port}},  # noqa: S104 - the container's
        per_connection_buffer_limit_bytes=64 << 10,
        filter_chains=[{**chain, **({"transport_socket": socket} if socket else {})}],
    )


def _early_headers(more: Sequence[JsonObject]) -> JsonObject:
    """Return what happens to headers before anything reads them."""
    removed = {
        "safe_regex": {
            "regex": f"{'|'.join([*_other_spellings(), *early_removals()])}|(?:{ENVOY_HEADERS}|{OWN_HEADERS}).*"
        }
    }
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": typed(
            "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            mutations=[
                {"remove_on_match": {"key_matcher": removed}},
                {"append": set_header(NEW_ID_HEADER, "%UNIQUE_ID%")},
                {"append": set_header(BODY_MARK, "%REQ(TRANSFER-ENCODING)%")},
                *({"append": header} for header in more),
            ],
        ),
    }


def _other_spellings() -> list[str]:
    """Return how else the names may be written that services believe, as Envoy has all names: in small letters."""
    return [
        spelling
        for name in map(str.lower, TRUSTED_HEADERS)
        for spelling in map("".join, product(*(("-", "_") if letter == "-" else letter for letter in name)))
        if spelling != name
    ]


def _error_pages() -> list[JsonObject]:
    """Return the forms of the gateway's own errors. What a service answers itself passes as it is."""
    pages: list[JsonObject] = [{"filter": _has_status(envoy_maintenance.MARK), "status_code": 503}]
    for status, words in REFUSALS.items():
        html = f"<!doctype html><title>{status}</title><h1>{status}: {words}</h1>\n"
        pages += _pages(_has_status(status), status, f'{{"error": "{words}", "status": {status}}}\n', html)
    unchecked = {"and_filter": {"filters": [_has_status(503), {"response_flag_filter": {"flags": ["UAEX"]}}]}}
    html = "<!doctype html><title>503</title><h1>503: callers cannot be checked</h1>\n"
    pages += _pages(unchecked, 503, '{"error": "callers cannot be checked", "status": 503}\n', html)
    service = "%METADATA(ROUTE:slipway:service)%"
    html = (
        f"<!doctype html><title>{service} is down</title><h1>{service} is down</h1>\n"
        f"<p>The gateway is up, the service <b>{service}</b> did not answer. Try again in a moment.</p>\n"
    )
    overflow = {"and_filter": {"filters": [_has_status(503), {"response_flag_filter": {"flags": ["UO", "OM"]}}]}}
    # Envoy's 503 is that no connection came about; as everywhere, that is a bad gateway.
    down = [(overflow, 503), (_has_status(503), 502), (_has_status(502), 502), (_has_status(504), 504)]
    for condition, status in down:
        text = f'{{"error": "service unavailable", "service": "{service}", "status": {status}}}\n'
        pages += _pages(condition, status, text, html)
    return pages


def _pages(condition: JsonObject, status: int, text: str, html: str) -> list[JsonObject]:
    """Return an error's two forms: HTML for who asks for it, else JSON."""
    html_accepted = {"name": "accept", "string_match": {"contains": "text/html", "ignore_case": True}}
    wants_html = {"header_filter": {"header": html_accepted}}
    return [
        {
            "filter": {"and_filter": {"filters": [condition, wants_html]}},
            "status_code": status,
            "body_format_override": {"text_format_source": {"inline_string": html}, "content_type": "text/html"},
        },
        {
            "filter": condition,
            "status_code": status,
            "body_format_override": {"text_format_source": {"inline_string": text}, "content_type": "application/json"},
        },
    ]


def _has_status(status: int) -> JsonObject:
    return {
        "status_code_filter": {
            "comparison": {"op": "EQ", "value": {"default_value": status, "runtime_key": f"slipway.status.{status}"}}
        }
    }
