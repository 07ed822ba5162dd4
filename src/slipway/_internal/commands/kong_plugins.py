"""The plugins of Kong that hold the rules of one route: a pure function from a route to their configurations."""

from __future__ import annotations

import re
from typing import Any

from slipway._internal.commands.kong_scripts import redirection_script, storage_script
from slipway._internal.model.engine_routes import EngineRoute
from slipway._internal.model.route_rules import (
    ANY_ORIGIN,
    CACHED_METHODS,
    METHODS,
    CacheSettings,
    CorsSettings,
    LimitSettings,
    origin_pattern,
)
from slipway._internal.model.routes import HeaderSettings, RouteSettings

Config = dict[str, Any]
_UNITS = {"k": ("kilobytes", 1), "m": ("megabytes", 1), "g": ("megabytes", 1024)}
_COUNTED_BY = {"address": "ip", "consumer": "consumer", "route": "service"}
_NO_HEADERS = ("Accept",)
"""What `Access-Control-Allow-Headers` says where none is allowed: with an empty list Kong would allow all. Pages may
send this one anyway (Fetch Standard, "CORS-safelisted request-header")."""
_KEPT_TYPES = ("*/*", "*/*; charset=utf-8", "*/*; charset=UTF-8")
"""What the proxy-cache plugin compares types with, parameters included."""


def rule_plugins(wanted: EngineRoute) -> dict[str, Config]:
    """Return the configuration of each plugin that a route's rules need, by the plugin's name."""
    route = wanted.route
    found: dict[str, Config] = {}
    if route.allow or route.deny:
        networks = {"allow": route.allow, "deny": route.deny}
        found["ip-restriction"] = {key: list(named) for key, named in networks.items() if named}
    if route.cors:
        found["cors"] = _cors(route.cors, route.methods)
    if route.rate_limit:
        found["rate-limiting"] = _limit(route.rate_limit)
    if wanted.limits.body and not route.redirect:
        unit, factor = _UNITS[wanted.limits.body[-1]]
        size = int(wanted.limits.body[:-1]) * factor
        found["request-size-limiting"] = {"allowed_payload_size": size, "size_unit": unit}
    if kept := route.kept_answers:
        found["proxy-cache"] = _cache(kept, route)
        found["pre-function"] = {"header_filter": [storage_script(kept.seconds)]}
    if route.redirect:
        found["post-function"] = {"access": [redirection_script(route.path, route.redirect)]}
    return found


def header_plugins(route: RouteSettings, removed: tuple[str, ...] = ()) -> dict[str, Config]:
    """Return the configuration of the plugins that set and remove headers; `removed` go in any case."""
    found = {}
    if changes := _changes(route.request_headers, removed):
        found["request-transformer"] = changes
    if changes := _changes(route.response_headers):
        found["response-transformer"] = changes
    return found


def _changes(headers: HeaderSettings, removed: tuple[str, ...] = ()) -> Config:
    taken = sorted({*headers.remove, *removed})
    # `add` leaves a header that is there, and `replace` one that is not: both together set it.
    set_headers = [f"{name}:{value}" for name, value in sorted(headers.set.items())]
    changes = {"remove": taken, "replace": set_headers, "add": set_headers}
    return {kind: {"headers": entries} for kind, entries in changes.items() if entries}


def _cors(cors: CorsSettings, methods: tuple[str, ...]) -> Config:
    return {
        "origins": [origin if origin == ANY_ORIGIN else _origin(origin) for origin in cors.origins],
        "methods": list(cors.methods or methods or METHODS),
        "headers": list(cors.headers or _NO_HEADERS),
        **({"exposed_headers": list(cors.expose)} if cors.expose else {}),
        "credentials": cors.credentials,
        "max_age": cors.max_age,
        "preflight_continue": False,
    }


def _origin(origin: str) -> str:
    """Return an origin as it is, or its pattern: Kong takes what has other signs than an address has for one."""
    return f"^{origin_pattern(origin)}$" if "*" in origin or re.search(r"[^A-Za-z0-9.:/-]", origin) else origin


def _limit(limit: LimitSettings) -> Config:
    return {
        limit.per: limit.requests,
        "limit_by": _COUNTED_BY[limit.by],
        "policy": "local",
        "fault_tolerant": False,
        "hide_client_headers": False,
    }


def _cache(kept: CacheSettings, route: RouteSettings) -> Config:
    return {
        "strategy": "memory",
        "cache_control": True,
        "cache_ttl": kept.seconds,
        "request_method": [method for method in CACHED_METHODS if not route.methods or method in route.methods],
        "response_code": [200],
        "content_type": list(_KEPT_TYPES),
        "vary_headers": list(route.variations),
        "response_headers": {"age": True, "X-Cache-Status": False, "X-Cache-Key": False},
    }
