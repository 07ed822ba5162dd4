"""The gateway's limits for requests, size and time, for all services, for one or for a route."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

BODY_SIZE = re.compile(r"[1-9][0-9]{0,11}[kmg]")
UNLIMITED = "unlimited"
Protocol = Literal["http", "h2c"]
"""How a service is spoken to: HTTP/1.1, or HTTP/2 without TLS, which gRPC needs."""


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Seconds: until a service has taken a connection, and without a byte in either direction once it has."""

    connect: Annotated[int, Meta(ge=1, le=3600)] | None = None
    idle: Annotated[int, Meta(ge=1, le=604800)] | None = None


NO_TIMEOUTS = Timeouts()


class RequestLimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Limits for requests, of a route, a service or the workspace; what one does not say, the next one says.

    `body` is the most bytes that a request may bring: `100m`, or `unlimited`.
    """

    body: str | None = None
    timeouts: Timeouts = NO_TIMEOUTS


@dataclass(frozen=True)
class RequestLimits:
    """The limits in force for a service. `body` is empty without one; times are seconds."""

    body: str = ""
    connect: int = 3
    idle: int = 300


DEFAULT_LIMITS = RequestLimits()
"""The limits of a service without settings."""


def effective_limits(*settings: RequestLimitSettings) -> RequestLimits:
    """Return the limits in force; earlier settings override later ones."""

    def first(*values: int | str | None, default: int | str) -> int | str:
        return next((value for value in values if value is not None), default)

    body = str(first(*(setting.body for setting in settings), default=DEFAULT_LIMITS.body))
    return RequestLimits(
        body="" if body == UNLIMITED else body,
        connect=int(first(*(setting.timeouts.connect for setting in settings), default=DEFAULT_LIMITS.connect)),
        idle=int(first(*(setting.timeouts.idle for setting in settings), default=DEFAULT_LIMITS.idle)),
    )


def body_problem(body: str | None) -> str:
    """Return what is wrong with a `body`; empty when nothing is."""
    if body is None or body == UNLIMITED or BODY_SIZE.fullmatch(body):
        return ""
    return f"`body` is {body!r}"


BODY_REMEDY = f'Write a whole number and k, m or g, such as "100m"; or "{UNLIMITED}".'
