"""Which requests a service gets, and what the gateway changes about them: `route`, or the tables `[[routes]]`.

Each key means the same on every target: what is sent to a service is decided here, and a target only writes it down.
A path stands for itself and all below: `/api` for /api and /api/…, `/` for all that no other route takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from slipway._internal.model.containers import ErrorFactory
from slipway._internal.model.hosts import HOST_REMEDY, host_problem
from slipway._internal.model.request_limits import NO_TIMEOUTS
from slipway._internal.model.route_rules import METHODS, OF_SERVED_ROUTES, RuleSettings, check_rules

PATH = re.compile(r"/|(/[A-Za-z0-9._~-]+)+")
OWN_PATH = "/.slipway"
"""What the gateway answers itself lives below this path."""
_SEPARATOR = "(?:/|%2[fF]|%5[cC])"
ENCODED_DOT_SEGMENT = rf"[^?]*{_SEPARATOR}\.\.?(?:{_SEPARATOR}[^?]*)?(?:\?.*)?"
"""What is refused of a path whose dot segments are resolved: those that are left have an encoded slash at one side."""
PREFIX_HEADER = "X-Forwarded-Prefix"
"""Tells a service which part of the path it did not get."""
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_UNTOUCHABLE = frozenset(
    {
        *("connection", "content-encoding", "content-length", "content-type", "date", "forwarded", "host"),
        *("keep-alive", "server", "te", "via"),
        *("proxy-authenticate", "proxy-authorization", "proxy-connection", "trailer", "transfer-encoding", "upgrade"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix", "x-real-ip"),
        "x-request-id",
    }
)
"""Headers that belong to the connection, or that services believe because the gateway sets them."""


class RedirectSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a redirect leads: what is not named stays as it was asked for. `path` takes the place of the route's."""

    scheme: Literal["http", "https"] | None = None
    host: str | None = None
    path: str | None = None
    status: Literal[301, 302] = 302


class HeaderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Headers that are set, in place of others of that name, and removed."""

    set: dict[str, str] = {}
    remove: tuple[str, ...] = ()


class RouteSettings(RuleSettings, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab"):
    """One of a service's routes. Its other rules may also stand in a table [gateway], for all routes.

    Attributes:
        path: what it answers, with all that is below.
        host: the only host that it is for, or all below one: `*.example.com`; without it, the stack's.
        methods: the only ones that it takes; all without it.
        strip: the service gets the path without the route's own.
        rewrite: the path that takes the place of the route's own.
        redirect: the gateway answers itself, and sends the caller elsewhere.
        request_headers: what the service gets besides, or without.
        response_headers: what the caller gets besides, or without.
        timeout: the seconds that an answer may take from the request to its end; a stream ends there, too.
    """

    path: str
    host: str | None = None
    methods: tuple[str, ...] = ()
    strip: bool = False
    rewrite: str | None = None
    redirect: RedirectSettings | None = None
    request_headers: HeaderSettings = HeaderSettings()
    response_headers: HeaderSettings = HeaderSettings()
    timeout: Annotated[int, Meta(ge=1, le=86400)] | None = None

    @property
    def service_path(self) -> str:
        """The path that the service sees in place of the route's own."""
        if self.strip:
            return "/"
        return self.path if self.rewrite is None else self.rewrite

    @property
    def stripped_prefix(self) -> str:
        """The part of the path that the service does not get, and is told of; empty for none."""
        return self.path if self.strip and self.path != "/" else ""


def is_own_path(path: str) -> bool:
    """Whether a path is the gateway's, which no service may have."""
    return path == OWN_PATH or path.startswith(f"{OWN_PATH}/")


def precedence(path: str) -> tuple[int, str]:
    """Return what routes are ordered by: the longer path is tried first."""
    return -len(path), path


def written_otherwise(path: str) -> str:
    """Return the pattern of all ways to write a route's path, or one below it, with encoded or doubled slashes.

    To most servers it would be the same path, to the gateway's rules another one.
    """
    segments = "".join(f"{_SEPARATOR}+{re.escape(segment)}" for segment in path[1:].split("/"))
    return rf"{segments}(?:{_SEPARATOR}.*|\?.*)?"


def check_routes(routes: Sequence[RouteSettings], refuse: ErrorFactory) -> None:
    """Check one service's `[[routes]]`.

    Raises:
        ConfigError: anything in them is wrong.
    """
    for number, route in enumerate(routes):
        _check_matching(route, number, refuse)
        _check_changes(route, number, refuse)
        check_rules(route, ("routes", f"{number}"), route.methods, refuse)
        for earlier in routes[:number]:
            if overlap(route, earlier):
                raise refuse(
                    ("routes", f"{number}", "path"),
                    f"two of the service's routes take {_shown(route)}",
                    "Remove one, or give each its own `methods`.",
                )


def overlap(one: RouteSettings, other: RouteSettings) -> bool:
    """Whether two routes are for the same host and path, and for a method in common."""
    if (one.host, one.path) != (other.host, other.path):
        return False
    return not one.methods or not other.methods or bool({*one.methods} & {*other.methods})


def _check_matching(route: RouteSettings, number: int, refuse: ErrorFactory) -> None:
    if not PATH.fullmatch(route.path):
        raise refuse(
            ("routes", f"{number}", "path"),
            f"`path` is {route.path!r:.80}",
            "A path starts with / and has no / at its end: `/api`.",
        )
    if is_own_path(route.path):
        raise refuse(
            ("routes", f"{number}", "path"), f"`path` is {route.path}: {OWN_PATH} is the gateway's", "Choose another."
        )
    if route.host is not None and (problem := host_problem(route.host)):
        raise refuse(("routes", f"{number}", "host"), f"`host` is {route.host!r:.80}, which {problem}", HOST_REMEDY)
    for method in route.methods:
        if method not in METHODS:
            raise refuse(
                ("routes", f"{number}", "methods"),
                f"`methods` names {method!r:.40}",
                f"There are {', '.join(METHODS)}.",
            )


def _check_changes(route: RouteSettings, number: int, refuse: ErrorFactory) -> None:
    def key(*names: str) -> tuple[str, ...]:
        return ("routes", f"{number}", *names)

    if route.rewrite is not None and not PATH.fullmatch(route.rewrite):
        raise refuse(
            key("rewrite"), f"`rewrite` is {route.rewrite!r:.80}", "A path starts with / and has no / at its end."
        )
    if route.rewrite is not None and route.strip:
        raise refuse(key("rewrite"), "`rewrite` and `strip` both change the path", 'Leave one: strip is rewrite = "/".')
    for name, headers in (("request-headers", route.request_headers), ("response-headers", route.response_headers)):
        for problem, remedy in _header_problems(headers):
            raise refuse(key(name), f"`{name}` {problem}", remedy)
    if route.timeouts.connect is not None:
        raise refuse(
            key("timeouts", "connect"),
            "a route has no `connect` of its own: connections are its service's",
            "Set it under [gateway]: timeouts.connect = 3.",
        )
    if route.redirect is not None:
        _check_redirect(route, route.redirect, number, refuse)


def _check_redirect(route: RouteSettings, redirect: RedirectSettings, number: int, refuse: ErrorFactory) -> None:
    where = ("routes", f"{number}", "redirect")
    if redirect == RedirectSettings(status=redirect.status):
        raise refuse(where, "`redirect` leads nowhere else", 'Name a `scheme`, a `host` or a `path`: {path = "/new"}.')
    if redirect.host is not None and not _HOST.fullmatch(redirect.host):
        raise refuse((*where, "host"), f"`host` is {redirect.host!r:.80}", "Write a name such as www.example.com.")
    if redirect.path is not None and not PATH.fullmatch(redirect.path):
        raise refuse((*where, "path"), f"`path` is {redirect.path!r:.80}", "Write a path such as /new.")
    others = {
        "strip": route.strip,
        "rewrite": route.rewrite is not None,
        "request-headers": route.request_headers != HeaderSettings(),
        "timeout": route.timeout is not None,
        **{name: getattr(route, name) not in (None, NO_TIMEOUTS) for name in sorted(OF_SERVED_ROUTES)},
    }
    for name, is_set in others.items():
        if is_set:
            raise refuse(
                ("routes", f"{number}", name),
                f"a route with a `redirect` reaches no service, so it has no `{name}`",
                f"Remove `{name}`, or the `redirect`.",
            )


def _header_problems(headers: HeaderSettings) -> Iterator[tuple[str, str]]:
    names = [name.lower() for name in (*headers.set, *headers.remove)]
    for name in (*headers.set, *headers.remove):
        if not _HEADER_NAME.fullmatch(name):
            yield f"names {name!r:.80}, which is no header's name", "Write a name such as X-Frame-Options."
        if name.lower() in _UNTOUCHABLE:
            yield (
                f"names {name}, which is not for a route to change",
                "Remove it: the gateway or the connection has it.",
            )
        if names.count(name.lower()) > 1:
            yield f"names {name} twice", "Leave one: names are the same in capitals and without."
    for name, value in headers.set.items():
        if not _HEADER_VALUE.fullmatch(value):
            yield (
                f"sets {name} to a text that no header can hold",
                "Write printable ASCII, without a blank at either end. To take a header away, name it in `remove`.",
            )


def _shown(route: RouteSettings) -> str:
    return f"{' '.join(route.methods)} {route.host or ''}{route.path}".strip()
