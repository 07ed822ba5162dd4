"""What Azure API Management cannot express of a route: it is refused, never left out.

Source: the reference of its policies (learn.microsoft.com/azure/api-management/api-management-policies).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from slipway._internal.model.auth import JwtSettings
from slipway._internal.model.engine_routes import EngineRoute, Refusal
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.parsing import ParseError, parse_json
from slipway._internal.model.route_rules import ANY_ORIGIN, METHODS, CorsSettings, RetrySettings
from slipway._internal.model.routes import covers
from slipway._internal.model.rule_places import refuse_rule

AZURE = "Azure API Management"
ALL_METHODS = (*METHODS, "TRACE")
"""What a route without `methods` takes."""
MAX_FORWARD_SECONDS = 240
"""The longest wait for an answer's headers that forward-request is sure to hold."""
STATUSES = ("502", "503", "504")
_READ_BY_AZURE = re.compile(r"@[({]|\{\{")
"""What begins a policy expression, or names a named value: not to be said where no expression may stand."""
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{1,4096}")
_KEY_ID = re.compile(r"[A-Za-z0-9._~:/+=-]{1,200}")
_ON_DOCKER = "Remove it; the gateway of a Docker engine has it."


def azure_refusals(wanted: EngineRoute) -> Iterator[Refusal]:
    """Yield what Azure API Management cannot have of a route."""
    route = wanted.route
    if wanted.service.settings.protocol != "http":
        yield Refusal(("protocol",), "it is told to speak HTTP/1.1 to services", _ON_DOCKER)
    if route.host:
        yield Refusal(("host",), "an API is for all hosts of the service", "Use a service for each host.")
    if route.timeout is not None:
        yield Refusal(("timeout",), "it waits for an answer's headers alone", "Use `timeouts.idle`, or remove it.")
    if wanted.limits.idle > MAX_FORWARD_SECONDS and route.timeouts.idle is not None:
        yield Refusal(("timeouts", "idle"), f"it waits {MAX_FORWARD_SECONDS} s at most", "Write a shorter time.")
    if route.compression:
        yield Refusal(("compression",), "it has no policy for it", "Remove it, or compress in the service.")
    for key in ("allow", "deny"):
        if any(ipaddress.ip_network(network).version == 6 for network in getattr(route, key) or ()):
            yield Refusal((key,), "its ip-filter is for IPv4 addresses", "Name IPv4 addresses and ranges alone.")
    if route.rate_limit and route.rate_limit.burst is not None:
        yield Refusal(("limit", "burst"), "it counts in windows, without a burst", "Remove `burst`.")
    yield from _retry_refusals(route.retries)
    yield from _cors_refusals(route.cors)
    if auth := route.auth:
        if auth.basic_settings or auth.external_settings:
            yield Refusal(("auth", auth.kind), "no policy of Slipway's does it", "Use `keys` or `jwt`.")
        if auth.jwt:
            yield from _jwt_refusals(auth.jwt)


def check_azure_paths(routes: Sequence[EngineRoute], workspace_root: Path) -> None:
    """Check that requests need not go on to a shorter route, and that one path has one kind of keys.

    Raises:
        ConfigError: they must; the error names the file, the line and the key.
    """
    for wanted in routes:
        same = [other for other in routes if other.route.path == wanted.route.path]
        taken = {method for other in same for method in other.route.methods or ALL_METHODS}
        for other in routes:
            wider = other not in same and covers(other.route.path, wanted.route.path)
            if wider and {*(other.route.methods or ALL_METHODS)} - taken:
                raise _error(
                    wanted,
                    workspace_root,
                    ("methods",),
                    f"its other methods would not go to {other.route.path} of {other.service.name}, but get 404",
                    "Remove `methods`, or give the other methods a route with this path.",
                )
        keys = {other.route.auth and other.route.auth.key_settings for other in same}
        if len(keys) > 1:
            raise _error(
                wanted,
                workspace_root,
                ("auth",) if wanted.route.auth else ("path",),
                "the routes of one path are one API, which is for the same consumers' keys, or for everybody",
                "Give them the same `auth`, or other paths.",
            )


def _error(wanted: EngineRoute, root: Path, keys: tuple[str, ...], why: str, remedy: str) -> ConfigError:
    return refuse_rule(wanted.service, root, wanted.number, keys, f"cannot be had with {AZURE}: {why}", remedy)


def _retry_refusals(retries: RetrySettings | int | None) -> Iterator[Refusal]:
    policy = RetrySettings() if isinstance(retries, int) and retries else retries
    if isinstance(policy, RetrySettings) and not {*policy.on} <= {*STATUSES}:
        yield Refusal(
            ("retries",),
            "it repeats on an answer's status, not on a connection that fails",
            'Write 0, or such as { times = 2, on = ["503"] }.',
        )


def _cors_refusals(cors: CorsSettings | None) -> Iterator[Refusal]:
    for origin in cors.origins if cors else ():
        if "*" in origin and origin != ANY_ORIGIN:
            yield Refusal(("cors", "origins"), "it knows origins one by one, or all", "Name them without a star.")


def _jwt_refusals(jwt: JwtSettings) -> Iterator[Refusal]:
    if jwt.url:
        yield Refusal(
            ("auth", "jwt", "url"),
            "its validate-jwt fetches no set of keys, but what an OpenID provider says of itself",
            "Put the keys in a file beside service.toml, and name it as `jwks`.",
        )
    said = [("issuer", jwt.issuer), *(("audiences", name) for name in jwt.audiences)]
    for claim, wanted in jwt.claims.items():
        said += [("claims", text) for text in (claim, *((wanted,) if isinstance(wanted, str) else wanted))]
    for key, text in said:
        if _READ_BY_AZURE.search(text):
            yield Refusal(("auth", "jwt", key), "it would read a part of it as an expression", "Choose another text.")
    if jwt.jwks:
        for public_key in public_keys(jwt):
            if not _is_usable(public_key):
                yield Refusal(
                    ("auth", "jwt", "jwks"),
                    "it knows public keys of the kind RSA, for RS256",
                    "Have the issuer sign with such a key, or use another engine.",
                )


def public_keys(jwt: JwtSettings) -> list[dict[str, object]]:
    """Return the keys of a token's issuer; `jwks` is the text of its file, see `with_files`.

    Raises:
        ConfigError: it is no such text.
    """
    try:
        keys: list[dict[str, object]] = parse_json((jwt.jwks or "").encode(), dict[str, list[dict[str, object]]])[
            "keys"
        ]
    except (KeyError, ParseError) as error:
        raise ConfigError(f"the issuer's keys cannot be read: {error}") from error
    return keys


def _is_usable(key: dict[str, object]) -> bool:
    return (
        key.get("kty") == "RSA"
        and key.get("alg", "RS256") == "RS256"
        and all(_BASE64URL.fullmatch(str(key.get(part, ""))) for part in ("n", "e"))
        and bool(_KEY_ID.fullmatch(str(key.get("kid", "-"))))
    )
