"""Finds the rules of routes that would mean something else with Envoy Gateway's policies than on a Docker engine.

What it can do as it is meant stands in `commands/envoy_gateway.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from slipway._internal.commands.envoy_gateway import (
    MAX_BODY_BYTES,
    asked_service,
    body_bytes,
    is_repeatable,
    token_condition,
)
from slipway._internal.model.auth import AuthSettings, ExternalSettings, JwtSettings
from slipway._internal.model.request_limits import RequestLimits, effective_limits
from slipway._internal.model.route_rules import ANY_ORIGIN, LimitSettings
from slipway._internal.model.routes import RouteSettings
from slipway._internal.model.workspace import Service

MAX_CONDITION_CHARACTERS = 4096
MAX_ISSUER_CHARACTERS = 253
MAX_AUDIENCES = 8


@dataclass(frozen=True)
class PolicyProblem:
    """A rule that Envoy Gateway has no policy for: `keys` lead to it from its route or its table [gateway]."""

    keys: tuple[str, ...]
    why: str
    remedy: str


def policy_problems(service: Service, route: RouteSettings, services: Sequence[Service]) -> Iterator[PolicyProblem]:
    """Yield what a route asks for that Envoy Gateway cannot do as it is meant.

    Args:
        service: the route's.
        route: with the rules in force.
        services: all that run in the stack.
    """
    limits = effective_limits(route, service.settings.gateway, service.defaults)
    if route.rate_limit:
        yield from _limit_problems(route, route.rate_limit)
    yield from _body_problems(limits)
    yield from _retry_problems(route)
    if route.compression:
        yield PolicyProblem(("compression",), "its answers were not compressed when it was tried", "Remove it.")
    if route.cors and (wild := [origin for origin in route.cors.origins if "*" in origin and origin != ANY_ORIGIN]):
        yield PolicyProblem(
            ("cors", "origins"),
            f"to it, the star in {wild[0]} is any number of names, and not one",
            "Name each origin.",
        )
    if route.auth:
        yield from _auth_problems(route.auth, services)


def _limit_problems(route: RouteSettings, limit: LimitSettings) -> Iterator[PolicyProblem]:
    if route.redirect:
        yield PolicyProblem(
            ("limit",),
            "it counts no requests that are sent elsewhere",
            'Write limit = "off" at the route with the `redirect`.',
        )
    if limit.burst not in (None, limit.requests):
        yield PolicyProblem(
            ("limit", "burst"), "its counters hold as many requests as come in a time", "Remove `burst`."
        )
    if limit.by == "consumer":
        yield PolicyProblem(
            ("limit", "by"), "it knows no consumers: see `auth`", 'Count by "address", "route" or a claim.'
        )
    if "." in limit.claim:
        yield PolicyProblem(("limit", "by"), _nested(limit.claim), "Count by a claim without a dot in its name.")
    if len(route.methods) > 1:
        yield PolicyProblem(
            ("limit",),
            f"it would count {' and '.join(route.methods)} each for itself",
            "Remove the route's `methods`, or leave one.",
        )


def _body_problems(limits: RequestLimits) -> Iterator[PolicyProblem]:
    if limits.body and body_bytes(limits.body) > MAX_BODY_BYTES:
        yield PolicyProblem(
            ("body",),
            "it holds each request in memory until it is whole, so that more than 16m would be a way to exhaust it",
            'Write at most body = "16m", or "unlimited" and have the service itself count.',
        )


def _retry_problems(route: RouteSettings) -> Iterator[PolicyProblem]:
    said, policy = route.retries, route.retry_policy
    if said is None or not policy or is_repeatable(route) or all(reason == "connect" for reason in policy.on):
        return
    yield PolicyProblem(
        ("retries",),
        "it repeats requests of all methods alike, so a POST would be done twice",
        'Write on = ["connect"], or any-method = true, or give the route only methods such as GET.',
    )


def _auth_problems(auth: AuthSettings, services: Sequence[Service]) -> Iterator[PolicyProblem]:
    if auth.kind in ("keys", "basic"):
        yield PolicyProblem(
            ("auth",),
            "it needs the keys themselves, or their SHA-1, and Slipway keeps nothing but their SHA-256",
            "Use tokens (jwt) or another server's word (external).",
        )
    if auth.jwt:
        yield from _token_problems(auth.jwt)
    if auth.external_settings:
        yield from _external_problems(auth.external_settings, services)


def _token_problems(jwt: JwtSettings) -> Iterator[PolicyProblem]:
    where = ("auth", "jwt")
    if jwt.ca is not None:
        yield PolicyProblem(
            (*where, "ca"),
            "it knows servers by the public authorities",
            "Put the issuer's keys into a file: jwks = …",
        )
    for claim in jwt.headers:
        if "." in claim:
            yield PolicyProblem((*where, "headers"), _nested(claim), "Have the service read it: forward = true.")
    if len(jwt.audiences) > MAX_AUDIENCES:
        yield PolicyProblem((*where, "audiences"), f"it takes {MAX_AUDIENCES} of them", "Name fewer.")
    if max(len(jwt.issuer), len(jwt.url or "")) > MAX_ISSUER_CHARACTERS:
        yield PolicyProblem(
            (*where, "issuer"), f"it takes {MAX_ISSUER_CHARACTERS} characters, of `url` too", "Choose a shorter one."
        )
    if len(token_condition(jwt)) > MAX_CONDITION_CHARACTERS:
        yield PolicyProblem((*where, "claims"), "it takes a condition of 4096 characters", "Ask for fewer claims.")


def _external_problems(external: ExternalSettings, services: Sequence[Service]) -> Iterator[PolicyProblem]:
    if external.receive:
        yield PolicyProblem(
            ("auth", "external", "receive"), "its service did not get them when it was tried", "Remove `receive`."
        )
    host, port = asked_service(external)
    ports = {service.name: service.settings.port for service in services}
    if ports.get(host) != port or not external.url.startswith("http://"):
        known = ", ".join(f"http://{name}:{number}" for name, number in ports.items() if number)
        yield PolicyProblem(
            ("auth", "external"),
            f"it asks services of this stack only, and {host}:{port} is none, or is not asked over http",
            f"Name one of {known}.",
        )


def _nested(claim: str) -> str:
    return f"to it, {claim} is a claim within a claim"
