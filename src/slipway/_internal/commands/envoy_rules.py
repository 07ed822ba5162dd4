"""The part of the gateway's Envoy configuration that holds the rules of routes: addresses, origins, limits, and so on.

Each is a filter that is there for all requests and does nothing until a route says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from slipway._internal.commands.envoy_messages import JsonObject, set_header, typed
from slipway._internal.commands.gateway_route import Route
from slipway._internal.model.route_rules import (
    CLAIM,
    METHODS,
    PERIODS,
    CorsSettings,
    LimitSettings,
    RetrySettings,
    origin_pattern,
)
from slipway._internal.model.routes import RouteSettings

ADDRESS_FILTER = "slipway.addresses"
CORS_FILTER = "slipway.cors"
LIMIT_FILTER = "slipway.limit"
COMPRESSION_FILTERS = {"slipway.brotli": "br", "slipway.gzip": "gzip"}
UPGRADES = ("websocket", "tcp", "spdy/3.1")
"""The protocols that a client may change to: WebSocket, and those of Docker's and Kubernetes' attached streams."""
METADATA = "slipway"
"""Where a route says for Slipway what it is."""
CALLER_KEY = "caller"
CLAIM_METADATA = "claim."
"""What the names start with by which the check of a token leaves claims for limits."""
MAX_CALLERS = 20_000
"""The callers that a limit by address knows; who has been silent longest is forgotten for a new one."""
IPV6_PREFIX = 64
"""The bits of an IPv6 address that one caller has: whoever has a connection has all addresses below them."""
UNLIMITED = 4_000_000_000
_LIMITS_TYPE = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
COMPRESSED_TYPES = (
    *("application/javascript", "application/json", "application/ld+json", "application/manifest+json"),
    *("application/problem+json", "application/rss+xml", "application/wasm", "application/xhtml+xml"),
    *("application/xml", "image/svg+xml", "text/calendar", "text/css", "text/csv", "text/html", "text/javascript"),
    *("text/markdown", "text/plain", "text/xml"),
)
"""What gets smaller; streams of events, images, archives and gRPC are passed on as they are."""
MIN_COMPRESSED_BYTES = 1024
RETRY_CONDITIONS = {"connect": ("connect-failure", "refused-stream", "reset-before-request"), "reset": ("reset",)}
STATUS_CONDITION = "retriable-status-codes"


def address_and_origin_filters() -> list[JsonObject]:
    """Return the filters that come before anything that asks who somebody is.

    A browser asks without credentials whether a page may call a route, so that is answered before they are looked for.
    """
    rbac = typed("envoy.extensions.filters.http.rbac.v3.RBAC")
    cors = typed("envoy.extensions.filters.http.cors.v3.Cors")
    return [_disabled(ADDRESS_FILTER, rbac), _disabled(CORS_FILTER, cors)]


def limit_filter(source: JsonObject) -> JsonObject:
    """Return the filter that counts requests; it comes after those that find out who somebody is.

    Its counters are in a file of their own: Envoy begins to count anew where what it is told of them changes, and the
    table of routes changes with each rollout.

    Args:
        source: the file, see `limits`.
    """
    discovery = {"config_source": source, "type_urls": [f"type.googleapis.com/{_LIMITS_TYPE}"]}
    return {"name": LIMIT_FILTER, "disabled": True, "config_discovery": discovery}


def compression_filters() -> list[JsonObject]:
    return [_disabled(name, _compressor(name)) for name in COMPRESSION_FILTERS]


def filter_settings(route: Route) -> JsonObject:
    """Return what turns filters on for all requests of a route, those that the gateway refuses itself included."""
    rules = route.settings
    found: JsonObject = {}
    if rules.allow or rules.deny:
        found[ADDRESS_FILTER] = typed(
            "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
            rbac={"rules": {"action": "ALLOW", "policies": {"addresses": _address_policy(route)}}},
        )
    if rules.cors:
        found[CORS_FILTER] = _cors_policy(rules.cors, rules.methods)
    if rules.compression:
        for name in COMPRESSION_FILTERS:
            found[name] = typed(
                "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute",
                overrides={"response_direction_config": {}},
            )
    return found


def preflight_headers(route: Route) -> list[JsonObject]:
    """Return by which headers a browser asks whether a page may call the route by a method that it takes."""
    asked_method = has_method(route.settings.methods or ["[A-Za-z]+"], "access-control-request-method")
    return [has_method(["OPTIONS"]), {"name": "origin", "string_match": {"safe_regex": {"regex": ".+"}}}, asked_method]


def limits(routes: Sequence[Route]) -> list[JsonObject]:
    """Return what the watched file holds: the counters of all limits, of which each route's metadata names its own.

    They stand together, as one limit is for all entries that a route becomes, in the tables of all hosts.
    """
    limited = [(route, limit) for route in routes if (limit := route.settings.rate_limit)]
    whole = typed(
        _LIMITS_TYPE,
        stat_prefix="limit",
        token_bucket={"max_tokens": UNLIMITED, "tokens_per_fill": UNLIMITED, "fill_interval": "1s"},
        always_consume_default_token_bucket=False,
        filter_enabled={"default_value": {"numerator": 100}},
        filter_enforced={"default_value": {"numerator": 100}},
        rate_limits=[{"actions": limit_actions(by)} for by in sorted({limit.by for _, limit in limited})],
        descriptors=[_descriptor(route, limit) for route, limit in limited],
        max_dynamic_descriptors=MAX_CALLERS,
        response_headers_to_add=[set_header("Retry-After", f"%METADATA(ROUTE:{METADATA}:retry-after)%")],
    )
    return [typed("envoy.config.core.v3.TypedExtensionConfig", name=LIMIT_FILTER, typed_config=whole)]


def limits_switch(routes: Sequence[Route]) -> JsonObject:
    """Return what of the whole table of routes turns the counting on, where any of them has a limit."""
    if not any(route.settings.rate_limit for route in routes):
        return {}
    return {"typed_per_filter_config": {LIMIT_FILTER: typed("envoy.config.route.v3.FilterConfig", config={})}}


def limit_actions(by: str) -> list[JsonObject]:
    """Return what a request is counted by: its route's limit, and what tells callers apart."""
    route = {
        "metadata": {
            "descriptor_key": f"limit-by-{by}",
            "metadata_key": {"key": METADATA, "path": [{"key": f"limit-by-{by}"}]},
            "source": "ROUTE_ENTRY",
        }
    }
    address = {"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": IPV6_PREFIX}}
    if by in ("route", "address"):
        return [route, *([address] if by == "address" else [])]
    caller = {
        "descriptor_key": CALLER_KEY,
        "metadata_key": {"key": METADATA, "path": [{"key": by.replace(CLAIM, CLAIM_METADATA)}]},
        "source": "DYNAMIC",
    }
    return [route, {"metadata": caller}]


def limit_metadata(route: Route) -> JsonObject:
    """Return what a route's entries say of its limit."""
    limit = route.settings.rate_limit
    if not limit:
        return {}
    return {f"limit-by-{limit.by}": route_name(route), "retry-after": f"{limit.retry_after}"}


def route_name(route: Route) -> str:
    """Return what no other route is called: its methods, host and path."""
    return f"{','.join(route.settings.methods)} {route.settings.host or ''}{route.path}".strip()


def retry_policy(retries: RetrySettings | None, *, repeatable: bool) -> JsonObject:
    """Return how requests are repeated, which can be done twice, or not."""
    if not retries:
        return {}
    repeatable = repeatable or retries.any_method
    reasons = [reason for reason in retries.on if repeatable or reason == "connect"]
    conditions = [condition for reason in reasons for condition in RETRY_CONDITIONS.get(reason, ())]
    statuses = [int(reason) for reason in reasons if reason not in RETRY_CONDITIONS]
    if not reasons:
        return {}
    return {
        "retry_policy": {
            "retry_on": ",".join([*conditions, *([STATUS_CONDITION] if statuses else [])]),
            **({"retriable_status_codes": statuses} if statuses else {}),
            "num_retries": retries.times,
            "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.25s"},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
                }
            ],
            "host_selection_retry_max_attempts": 5,
        }
    }


def upgrades(rules: RouteSettings) -> JsonObject:
    """Return what forbids a route's connections to change to another protocol; nothing where they may."""
    if rules.websockets is not False:
        return {}
    return {"upgrade_configs": [{"upgrade_type": protocol, "enabled": False} for protocol in UPGRADES]}


def has_method(methods: Sequence[str], header: str = ":method") -> JsonObject:
    """Return what asks for one of these methods."""
    return {"name": header, "string_match": {"safe_regex": {"regex": "|".join(methods)}}}


def _disabled(name: str, config: JsonObject) -> JsonObject:
    return {"name": name, "disabled": True, "typed_config": config}


def _address_policy(route: Route) -> JsonObject:
    """Return who may come: the connection's own address counts, no header."""
    rules = route.settings
    allowed = {"or_ids": {"ids": [_from(network) for network in rules.allow]}} if rules.allow else {"any": True}
    denied = [{"not_id": {"or_ids": {"ids": [_from(network) for network in rules.deny]}}}] if rules.deny else []
    return {"permissions": [{"any": True}], "principals": [{"and_ids": {"ids": [allowed, *denied]}}]}


def _from(network: str) -> JsonObject:
    address, _, bits = network.partition("/")
    return {
        "direct_remote_ip": {
            "address_prefix": address,
            "prefix_len": int(bits or (128 if ":" in address else 32)),
        }
    }


def _cors_policy(cors: CorsSettings, methods: Sequence[str]) -> JsonObject:
    return typed(
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        allow_origin_string_match=[{"safe_regex": {"regex": origin_pattern(origin)}} for origin in cors.origins],
        allow_methods=", ".join(cors.methods or methods or METHODS),
        allow_headers=", ".join(cors.headers),
        expose_headers=", ".join(cors.expose),
        max_age=f"{cors.max_age}",
        allow_credentials=cors.credentials,
        forward_not_matching_preflights=False,
    )


def _descriptor(route: Route, limit: LimitSettings) -> JsonObject:
    callers = {"route": [], "address": [{"key": "masked_remote_address"}]}.get(limit.by, [{"key": CALLER_KEY}])
    return {
        "entries": [{"key": f"limit-by-{limit.by}", "value": route_name(route)}, *callers],
        "token_bucket": {
            "max_tokens": limit.capacity,
            "tokens_per_fill": limit.requests,
            "fill_interval": f"{PERIODS[limit.per]}s",
        },
    }


def _compressor(name: str) -> JsonObject:
    libraries = {
        "br": ("brotli", typed("envoy.extensions.compression.brotli.compressor.v3.Brotli", quality=4)),
        "gzip": (
            "gzip",
            typed("envoy.extensions.compression.gzip.compressor.v3.Gzip", memory_level=5, window_bits=12),
        ),
    }
    types = f"(?:{'|'.join(map(re.escape, COMPRESSED_TYPES))})(?:;.*)?"
    library, config = libraries[COMPRESSION_FILTERS[name]]
    return typed(
        "envoy.extensions.filters.http.compressor.v3.Compressor",
        choose_first=library == "brotli",  # for who takes both
        compressor_library={"name": library, "typed_config": config},
        response_direction_config={
            "common_config": {
                "min_content_length": MIN_COMPRESSED_BYTES,
                "content_type_matcher": {"safe_regex": {"regex": types}},
            },
            "uncompressible_response_codes": [206],  # a part of what is not compressed
            "weaken_etag_on_compress": True,
        },
    )
