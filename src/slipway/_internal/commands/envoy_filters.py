"""The part of the gateway's Envoy configuration that looks at each request and answer: its filters, in order."""

from __future__ import annotations

from slipway._internal.commands import envoy_rules as rules
from slipway._internal.commands.envoy_auth import auth_filters
from slipway._internal.commands.envoy_messages import JsonObject, set_header, typed

BUFFER_FILTER = "envoy.filters.http.buffer"
OWN_HEADERS = "x-slipway-"
"""What headers start with that filters leave each other; no caller's and no service's."""
NEW_ID_HEADER, CALLER_SCHEME_HEADER = f"{OWN_HEADERS}id", f"{OWN_HEADERS}proto"
REQUEST_ID = "[A-Za-z0-9._:/+=@-]{1,128}"
"""A request id that is kept. Several headers are joined by a comma, which none has."""


def http_filters(limits: JsonObject) -> list[JsonObject]:
    """Return the filters in the order in which a request meets them; a route turns on what is disabled for all.

    Args:
        limits: the source of the counters of limits.
    """
    has_scheme = _has(CALLER_SCHEME_HEADER, "https?")
    return [
        # By which id somebody asked, and over what: the caller's word where it is one, else the gateway's own.
        _skipped_if(_has("x-request-id", REQUEST_ID), _header_filter(_copy(NEW_ID_HEADER, "X-Request-ID"))),
        _skipped_if({"not_matcher": has_scheme}, _header_filter(_copy(CALLER_SCHEME_HEADER, "X-Forwarded-Proto"))),
        _header_filter({"remove_on_match": {"key_matcher": {"prefix": OWN_HEADERS}}}),
        *rules.address_and_origin_filters(),
        *auth_filters(),
        rules.limit_filter(limits),
        *rules.compression_filters(),
        {
            "name": BUFFER_FILTER,
            "disabled": True,  # a route turns it on
            "typed_config": typed("envoy.extensions.filters.http.buffer.v3.Buffer", max_request_bytes=1),
        },
        {
            "name": "envoy.filters.http.router",
            "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True),
        },
    ]


def _header_filter(change: JsonObject) -> JsonObject:
    """Return a filter that changes a request's headers."""
    return {
        "name": "envoy.filters.http.header_mutation",
        "typed_config": typed(
            "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            mutations={"request_mutations": [change]},
        ),
    }


def _copy(source: str, name: str) -> JsonObject:
    return {"append": set_header(name, f"%REQ({source})%")}


def _has(header: str, pattern: str) -> JsonObject:
    """Return the condition that a request has a header which matches a pattern in whole."""
    return {
        "single_predicate": {
            "input": {
                "name": header,
                "typed_config": typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=header),
            },
            "value_match": {"safe_regex": {"google_re2": {}, "regex": pattern}},
        }
    }


def _skipped_if(condition: JsonObject, http_filter: JsonObject) -> JsonObject:
    """Return a filter that requests pass by which meet a condition."""
    skip = {"name": "skip", "typed_config": typed("envoy.extensions.filters.common.matcher.action.v3.SkipFilter")}
    matchers = [{"predicate": condition, "on_match": {"action": skip}}]
    return {
        "name": http_filter["name"],
        "typed_config": typed(
            "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            extension_config=http_filter,
            xds_matcher={"matcher_list": {"matchers": matchers}},
        ),
    }
