"""What Kong (3.x, the open-source edition's plugins) cannot express of a route: it is refused, never left out.

Sources: the schemas and handlers of Kong's own plugins, kong/plugins/*/schema.lua and handler.lua.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from slipway._internal.model.engine_routes import EngineRoute, Refusal
from slipway._internal.model.routes import RouteSettings

KONG = "Kong"
KongFormat = Literal["declarative", "ingress"]
TEMPLATE = "$("
"""What a value of Kong's request-transformer is evaluated from: its templates are Lua."""
_ON_DOCKER = "Remove it; the gateway of a Docker engine has it."
_RETRIED = ("connect", "reset")


def kong_refusals(wanted: EngineRoute, form: KongFormat) -> Iterator[Refusal]:
    """Yield what Kong cannot have of a route.

    Args:
        wanted: the route.
        form: how Kong is told: one declarative file, or resources for its ingress controller.
    """
    route = wanted.route
    if wanted.service.settings.protocol != "http":
        yield Refusal(("protocol",), "it is told to speak HTTP/1.1 to services", _ON_DOCKER)
    yield from _auth_refusals(route, form)
    yield from _limit_refusals(route)
    yield from _retry_refusals(route)
    if route.timeout is not None:
        yield Refusal(("timeout",), "it knows no time for a whole answer", "Use `timeouts.idle`, or remove it.")
    if route.compression:
        yield Refusal(("compression",), "it has no plugin for it", "Remove it, or compress in the service.")
    if route.websockets is False:
        yield Refusal(("websockets",), "it passes on every change of protocol", _ON_DOCKER)
    if route.cors and route.methods and "OPTIONS" not in route.methods:
        yield Refusal(
            ("cors",), "it answers browsers only by a route that takes OPTIONS", 'Add "OPTIONS" to `methods`.'
        )
    for key, headers in (("request-headers", route.request_headers), ("response-headers", route.response_headers)):
        for name, value in headers.set.items():
            if TEMPLATE in value or value.startswith(":"):
                yield Refusal(
                    (key,),
                    f"it reads the value of {name} as a template, or loses its colon",
                    "Write another value.",
                )
    if form == "ingress":
        yield from _ingress_refusals(wanted)


def _auth_refusals(route: RouteSettings, form: KongFormat) -> Iterator[Refusal]:
    auth = route.auth
    if not auth:
        return
    if auth.jwt:
        yield Refusal(
            ("auth", "jwt"),
            "its jwt plugin looks at no `aud`, so tokens for other services would be taken",
            "Have the service itself check tokens, or use another engine.",
        )
    elif auth.external_settings:
        yield Refusal(("auth", "external"), "no plugin of its open-source edition asks another server", _ON_DOCKER)
    elif form == "declarative":
        yield Refusal(
            ("auth", auth.kind),
            "its declarative file holds consumers' keys readable, and Slipway has their hashes alone",
            "Use --format ingress: there keys are Secrets of the cluster, which the file only names.",
        )


def _limit_refusals(route: RouteSettings) -> Iterator[Refusal]:
    limit = route.rate_limit
    if not limit:
        return
    if limit.claim:
        yield Refusal(("limit", "by"), "it counts by no claim", "Count by address, consumer or route.")
    if limit.burst is not None:
        yield Refusal(("limit", "burst"), "it counts in fixed windows, without a burst", "Remove `burst`.")


def _retry_refusals(route: RouteSettings) -> Iterator[Refusal]:
    policy = route.retry_policy
    if policy and {*policy.on} != {*_RETRIED}:
        yield Refusal(
            ("retries", "on"), "it repeats on both connect and reset, and on no status", 'on = ["connect", "reset"]'
        )
    if policy and policy.any_method:
        yield Refusal(("retries", "any-method"), "it repeats no POST that a container has got", "Remove it.")


def _ingress_refusals(wanted: EngineRoute) -> Iterator[Refusal]:
    on_service = "its ingress controller reads it from annotations of the Service"
    if wanted.route.retries is not None:
        yield Refusal(("retries",), on_service, "Remove it, and annotate the Service: konghq.com/retries.")
    for key in ("connect", "idle"):
        if getattr(wanted.route.timeouts, key) is not None:
            yield Refusal(
                ("timeouts", key),
                on_service,
                "Remove it, and annotate the Service: konghq.com/read-timeout, …",
            )
