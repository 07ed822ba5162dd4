"""The rules of routes as the policies of Envoy Gateway, for a Gateway on Kubernetes that it serves.

A policy is for rules of an HTTPRoute, which it names. Where a rule of the model means something else there, it is
refused when the files are read; see `targets/kubernetes/unsupported_policies.py`. The fields are those of the API
gateway.envoyproxy.io/v1alpha1 of Envoy Gateway 1.9.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from slipway._internal.commands.envoy_filters import OWN_HEADERS
from slipway._internal.commands.envoy_listener import (
    ENVOY_HEADERS,
    HEADER_SECONDS,
    KEEPALIVE_SECONDS,
    MAX_CONNECTIONS,
    TRUSTED_HEADERS,
)
from slipway._internal.commands.envoy_routes import IDEMPOTENT_METHODS, SIZE_UNITS
from slipway._internal.commands.envoy_rules import MIN_COMPRESSED_BYTES, RETRY_CONDITIONS, STATUS_CONDITION
from slipway._internal.model.auth import CONSUMER_HEADER, ExternalSettings, JwtSettings
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.model.route_rules import METHODS, CorsSettings, LimitSettings, RetrySettings
from slipway._internal.model.routes import RouteSettings

API_VERSION = "gateway.envoyproxy.io/v1alpha1"
CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
GATEWAY_GROUP = "gateway.networking.k8s.io"
ISSUER = "issuer"
"""What the only provider of tokens of a route is called."""
LIMIT_HEADER = "X-Slipway-Caller"
"""Carries the claim that a limit counts by from the check of tokens to the limit; no caller's, and no service's."""
NO_UPGRADE = "slipway-none"
"""A protocol that nobody speaks. Routes that name one take no other; without any name they would take WebSocket."""
EVERY_ADDRESS = ("0.0.0.0/0", "::/0")
UNITS = {"second": "Second", "minute": "Minute", "hour": "Hour", "day": "Day"}
AUTHORIZATION = "Authorization"
MAX_BODY_BYTES = 16 << 20
"""The largest body that a limit can allow: each request is held in memory until it is whole."""

Policy = dict[str, Any]


def named_rules(route: RouteSettings, rules: Sequence[Mapping[str, Any]]) -> list[Policy]:
    """Return the rules of an HTTPRoute that a route became, each with a name that policies can have for a target.

    A route whose methods are limited, and that pages of other origins may call, takes browsers' questions besides.
    """
    found = [dict(rule) for rule in rules]
    if route.cors and route.methods and found:
        asks = [
            {"type": "RegularExpression", "name": "Origin", "value": ".+"},
            {"type": "RegularExpression", "name": "Access-Control-Request-Method", "value": "|".join(route.methods)},
        ]
        [match, *_] = found[0]["matches"]
        found.append({**found[0], "matches": [{"path": match["path"], "method": "OPTIONS", "headers": asks}]})
    return [{"name": f"{rule_name(route)}.{number}", **rule} for number, rule in enumerate(found)]


def rule_name(route: RouteSettings) -> str:
    """Return what no other route of an HTTPRoute is called; it stays while path and methods stay."""
    said = f"{' '.join(route.methods)} {route.path}"
    words = re.sub("[^a-z0-9]+", "-", route.path.lower())[:40].strip("-") or "all"
    return f"{words}.{hashlib.sha256(said.encode()).hexdigest()[:10]}"


def with_checked_headers(route: RouteSettings) -> RouteSettings:
    """Return a route that takes from requests what its checks leave there: a token that is not for its service."""
    removed = list(route.request_headers.remove)
    jwt, limit = route.auth.jwt if route.auth else None, route.rate_limit
    if jwt and not jwt.forward:
        removed.append(AUTHORIZATION)
    if limit and limit.claim:
        removed.append(LIMIT_HEADER)
    known = {name.lower() for name in route.request_headers.set}
    kept = tuple(dict.fromkeys(name for name in removed if name.lower() not in known))
    return msgspec.structs.replace(route, request_headers=msgspec.structs.replace(route.request_headers, remove=kept))


def client_traffic_policy(gateway: str, hidden: Collection[str], *, tls: bool) -> Policy:
    """Return how the listeners of a Gateway treat connections and requests, before any route.

    Args:
        gateway: its name; the policy is in its namespace.
        hidden: the headers that checks give services, which no caller may send.
        tls: whether it speaks TLS.
    """
    names = [*map(_misspelled, TRUSTED_HEADERS), *map(_spelled, sorted({CONSUMER_HEADER.lower(), *hidden}))]
    prefixes = [{"type": "Prefix", "value": prefix} for prefix in (ENVOY_HEADERS, OWN_HEADERS)]
    patterns = [{"type": "RegularExpression", "value": pattern} for pattern in names if pattern]
    known = {
        "X-Real-IP": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        "X-Forwarded-Host": "%REQ(:AUTHORITY)%",
    }
    return {
        "targetRefs": [{"group": GATEWAY_GROUP, "kind": "Gateway", "name": gateway}],
        "headers": {
            "withUnderscoresAction": "Allow",
            "requestID": "PreserveOrGenerate",
            "earlyRequestHeaders": {
                "set": [{"name": name, "value": value} for name, value in known.items()],
                "removeOnMatch": [*prefixes, *patterns],
            },
        },
        # A path that could be read as another one than its rules were found by: slashes are one, encoded ones refused.
        "path": {"escapedSlashesAction": "RejectRequest", "disableMergeSlashes": False},
        "timeout": {
            "http": {
                "requestHeadersReceivedTimeout": duration(HEADER_SECONDS),
                "idleTimeout": duration(KEEPALIVE_SECONDS),
            }
        },
        "connection": {"connectionLimit": {"value": MAX_CONNECTIONS}},
        **({"tls": {"minVersion": "1.2", "alpnProtocols": ["h2", "http/1.1"]}} if tls else {}),
    }


def backend_traffic_policy(route: RouteSettings, limits: RequestLimits, targets: Sequence[Policy]) -> Policy:
    """Return how requests of a route reach its service: times, repetitions, limits, compression.

    Args:
        route: with the rules in force; it leads to a service.
        limits: those in force.
        targets: its rules, see `target`.
    """
    held = {"requestBuffer": {"limit": f"{limits.body[:-1]}{limits.body[-1].upper()}i"}} if limits.body else {}
    # Routes that hold bodies take no other protocol in any case, and may not say so.
    no_upgrade = {"httpUpgrade": [{"type": NO_UPGRADE}]} if route.websockets is False and not held else {}
    compressors = [{"type": name, "minContentLength": f"{MIN_COMPRESSED_BYTES}"} for name in ("Brotli", "Gzip")]
    return {
        "targetRefs": list(targets),
        "timeout": {
            "tcp": {"connectTimeout": duration(limits.connect)},
            "http": {
                "requestTimeout": duration(route.timeout or 0),
                "streamIdleTimeout": duration(limits.idle),
            },
        },
        "retry": _retry(route.retry_policy, is_repeatable=is_repeatable(route)),
        **({"rateLimit": {"local": {"rules": list(_limit_rules(route.rate_limit))}}} if route.rate_limit else {}),
        **({"compressor": compressors} if route.compression else {}),
        **held,
        **no_upgrade,
    }


def is_repeatable(route: RouteSettings) -> bool:
    """Whether each request that a route takes may be sent again after its service may have got it."""
    policy = route.retry_policy
    return bool(policy and policy.any_method) or bool(route.methods and {*route.methods} <= {*IDEMPOTENT_METHODS})


def security_policy(route: RouteSettings, targets: Sequence[Policy]) -> Policy:
    """Return who may call a route; empty where everybody may, from everywhere, and no page of other origins asks.

    Args:
        route: with the rules in force, and the texts of its files in the place of their names.
        targets: its rules, see `target`.
    """
    auth, limit = route.auth, route.rate_limit
    jwt, external = (auth.jwt, auth.external_settings) if auth else (None, None)
    limited = limit.claim if limit else ""
    parts = {
        **({"cors": _cors(route.cors, route.methods)} if route.cors else {}),
        **({"jwt": {"providers": [_provider(jwt, limited)]}} if jwt else {}),
        **({"extAuth": _external(external)} if external else {}),
        **_authorization(route, token_condition(jwt, limited) if jwt else ""),
    }
    return {"targetRefs": list(targets), **parts} if parts else {}


def target(http_route: str, rule: str) -> Policy:
    """Return what a policy names: one rule of an HTTPRoute in its own namespace."""
    return {"group": GATEWAY_GROUP, "kind": "HTTPRoute", "name": http_route, "sectionName": rule}


def token_condition(jwt: JwtSettings, limited: str = "") -> str:
    """Return in Common Expression Language what is asked of a token that its issuer has signed: an end, and claims.

    A claim is a text or holds it; of lists of words (`scope`, `scp`) Envoy Gateway makes lists. What cannot be
    evaluated, because a claim is missing or of another type, lets nobody in.

    Args:
        jwt: what tokens must be.
        limited: the claim that a limit counts by, which must be a text; empty for none.
    """
    payload = f"metadata.filter_metadata['envoy.filters.http.jwt_authn']['{ISSUER}']"
    asked = [f"'exp' in {payload}"]
    for name, wanted in sorted(jwt.claims.items()):
        claim = f"{payload}[{json.dumps(name)}]"
        for value in (wanted,) if isinstance(wanted, str) else wanted:
            asked.append(f"({claim} == {json.dumps(value)} || {json.dumps(value)} in {claim})")
    if limited:
        asked.append(f"type({payload}[{json.dumps(limited)}]) == string")
    return " && ".join(asked)


def duration(seconds: int) -> str:
    """Return a time as the Gateway API writes it: at most five digits for each unit."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = [f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (left, "s")) if number]
    return "".join(parts) or "0s"


def body_bytes(size: str) -> int:
    """Return the bytes that `body` allows."""
    return int(size[:-1]) * SIZE_UNITS[size[-1]]


def asked_service(external: ExternalSettings) -> tuple[str, int]:
    """Return the host and the port of the server that is asked about callers."""
    parts = urlsplit(external.url)
    return str(parts.hostname), parts.port or {"http": 80, "https": 443}[parts.scheme]


def _retry(policy: RetrySettings | None, *, is_repeatable: bool) -> Policy:
    if not policy:
        return {"numRetries": 0}
    reasons = [reason for reason in policy.on if is_repeatable or reason == "connect"]
    triggers = [condition for reason in reasons for condition in RETRY_CONDITIONS.get(reason, ())]
    statuses = [int(reason) for reason in reasons if reason not in RETRY_CONDITIONS]
    if not reasons:
        return {"numRetries": 0}
    return {
        "numRetries": policy.times,
        "retryOn": {
            "triggers": [*triggers, *([STATUS_CONDITION] if statuses else [])],
            **({"httpStatusCodes": statuses} if statuses else {}),
        },
        "perRetry": {"backOff": {"baseInterval": "10ms", "maxInterval": "250ms"}},
    }


def _limit_rules(limit: LimitSettings) -> Iterator[Policy]:
    value = {"limit": {"requests": limit.requests, "unit": UNITS[limit.per]}}
    if limit.by == "route":
        yield value
    elif limit.claim:
        yield {"clientSelectors": [{"headers": [{"type": "Distinct", "name": LIMIT_HEADER}]}], **value}
    else:
        for network in EVERY_ADDRESS:
            yield {"clientSelectors": [{"sourceCIDR": {"type": "Distinct", "value": network}}], **value}


def _cors(cors: CorsSettings, methods: Sequence[str]) -> Policy:
    return {
        "allowOrigins": list(cors.origins),
        "allowMethods": list(cors.methods or methods or METHODS),
        **({"allowHeaders": list(cors.headers)} if cors.headers else {}),
        **({"exposeHeaders": list(cors.expose)} if cors.expose else {}),
        "maxAge": duration(cors.max_age),
        "allowCredentials": cors.credentials,
    }


def _provider(jwt: JwtSettings, limited: str) -> Policy:
    keys: Policy = {"localJWKS": {"type": "Inline", "inline": jwt.jwks}}
    if jwt.url:
        keys = {"remoteJWKS": {"uri": jwt.url}}
    headers = [{"claim": claim, "header": name} for claim, name in sorted(jwt.headers.items())]
    if limited:
        headers.append({"claim": limited, "header": LIMIT_HEADER})
    return {
        "name": ISSUER,
        "issuer": jwt.issuer,
        "audiences": list(jwt.audiences),
        **keys,
        **({"claimToHeaders": headers} if headers else {}),
        "extractFrom": {"headers": [{"name": AUTHORIZATION, "valuePrefix": "Bearer "}]},
    }


def _external(external: ExternalSettings) -> Policy:
    service, port = asked_service(external)
    path = urlsplit(external.url).path.rstrip("/")
    return {
        "http": {
            "backendRefs": [{"group": "", "kind": "Service", "name": service, "port": port}],
            **({"path": path} if path else {}),
            **({"headersToBackend": [name.lower() for name in external.receive]} if external.receive else {}),
        },
        "headersToExtAuth": ["cookie", *(name.lower() for name in external.send)],
        "timeout": duration(external.timeout),
        "failOpen": False,
        "statusOnError": 503,
    }


def _authorization(route: RouteSettings, token: str) -> Policy:
    """Return from where and with which tokens requests are let in; a rule that stands first counts."""
    rules: list[Policy] = []
    if route.deny:
        rules.append({"name": "deny", "action": "Deny", "principal": {"clientCIDRs": _networks(route.deny)}})
    if route.allow or token:
        let_in = {"principal": {"clientCIDRs": _networks(route.allow)}} if route.allow else {}
        rules.append({"name": "allow", "action": "Allow", **let_in, **({"cel": token} if token else {})})
    if not rules:
        return {}
    return {"authorization": {"defaultAction": "Deny" if route.allow or token else "Allow", "rules": rules}}


def _networks(networks: Sequence[str]) -> list[str]:
    return [f"{ipaddress.ip_network(network)}" for network in networks]


def _spelled(name: str) -> str:
    """Return the pattern of all headers that a server may take for this one."""
    return name.lower().replace("-", "[-_]")


def _misspelled(name: str) -> str:
    """Return the pattern of all other headers that a server may take for this one; empty for none."""
    words = name.lower().split("-")
    others = []
    for number in range(len(words) - 1):
        separators = ["_" if place == number else "[-_]" for place in range(len(words) - 1)]
        others.append(words[0] + "".join(sign + word for sign, word in zip(separators, words[1:], strict=True)))
    return "|".join(others)
