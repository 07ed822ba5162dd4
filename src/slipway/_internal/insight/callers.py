"""Says who may call a route, and whether a request would be let in as far as that is known without its secrets."""

from __future__ import annotations

from collections.abc import Mapping

from slipway._internal.model.auth import AuthSettings


def describe_auth(auth: AuthSettings) -> str:
    """Return who may call, in words."""
    if external := auth.external_settings:
        return f"who {external.url} lets in"
    if jwt := auth.jwt:
        asked = "".join(
            f", {claim} {wanted if isinstance(wanted, str) else ' and '.join(wanted)}"
            for claim, wanted in sorted(jwt.claims.items())
        )
        return f"tokens of {jwt.issuer} for {' or '.join(jwt.audiences)}{asked}"
    settings = auth.key_settings or auth.basic_settings
    assert settings
    named = [*settings.consumers, *(f"group {group}" for group in settings.groups)]
    how = f"keys in {auth.key_settings.header}" if auth.key_settings else "passwords"
    return f"{how} of {', '.join(named) or 'all consumers'}"


def caller_refusal(auth: AuthSettings, headers: Mapping[str, str]) -> tuple[int, str] | None:
    """Return the status and the reason by which a request is turned down for its form alone; None if it may be let in.

    Args:
        auth: the route's.
        headers: by lower-case name.
    """
    if auth.external_settings:
        return None
    name = auth.key_settings.header.lower() if auth.key_settings else "authorization"
    scheme = {"basic": "basic", "jwt": "bearer"}.get(auth.kind, "")
    if not headers.get(name):
        return 401, f"it has no {name}: the route is for {describe_auth(auth)}"
    if scheme and not headers[name].lower().startswith(f"{scheme} "):
        return 401, f"its {name} does not begin with {scheme.capitalize()}"
    return None
