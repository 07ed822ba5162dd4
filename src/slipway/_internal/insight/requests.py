"""Says where a request would go, without sending it: which route it meets, and what the service would get.

It reads a path as the gateway does: see `commands/envoy_routes.py` and the reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from slipway._internal.insight import route_rules as rules
from slipway._internal.insight.callers import describe_auth
from slipway._internal.insight.route_rules import RequestFacts
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.hosts import ANY_HOST, by_host, match_host
from slipway._internal.model.request_limits import (
    DEFAULT_LIMITS,
    NO_TIMEOUTS,
    RequestLimits,
    Timeouts,
    effective_limits,
)
from slipway._internal.model.route_rules import METHODS
from slipway._internal.model.routes import (
    ENCODED_DOT_SEGMENT,
    OWN_PATH,
    PREFIX_HEADER,
    RedirectSettings,
    RouteSettings,
    is_own_path,
    precedence,
    written_otherwise,
)
from slipway._internal.model.workspace import Service

_URL = re.compile(
    r"(?:[a-z]+://(?P<host>[^/?#\s]+))?(?P<path>(?:/[^?#\s]*)?)(?P<query>\?[^#\s]*)?(?:#.*)?(?<=.)", re.IGNORECASE
)
_UNRESERVED = re.compile(r"%(?:2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])")
_ENCODED_SIGNS = re.compile(r"[\"<>^`{|}]|[^\x00-\x7f]")
"""What the gateway percent-encodes; signs beyond ASCII are sent so by whoever asks."""
AMBIGUOUS = "a service could read the path as another one than the gateway"


@dataclass(frozen=True)
class RequestFate:
    """What becomes of a request.

    Attributes:
        method: as it was asked.
        path: as the gateway reads it, with the query.
        host: the host of the stack that was asked for; empty where routes are for all.
        service: who gets it; empty where the gateway answers itself.
        route: the route that it meets; None for none.
        sent_path: the path that the service gets, with the query.
        status: what the gateway answers itself; 0 where the service answers.
        why: what a status says, in words, or where a redirect leads.
        rules: the rules that it meets where the service answers, in words.
    """

    method: str
    path: str
    service: str = ""
    route: RouteSettings | None = None
    sent_path: str = ""
    status: int = 0
    why: str = ""
    rules: tuple[str, ...] = ()
    host: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "route": msgspec.to_builtins(self.route)}

    def with_share(self, shares: Mapping[str, int]) -> RequestFate:
        """Return it with who answers, where the service has a canary that gets such a percentage of its requests."""
        percent = 0 if self.status else shares.get(self.service, 0)
        return replace(self, rules=(describe_share(self.service, percent), *self.rules)) if percent else self

    def describe(self) -> str:
        """Return it as lines to print."""
        asked = f"{self.method} {self.host}{self.path}"
        if self.status:
            where = f" by the route {self.route.path} of {self.service}" if self.route else ""
            return f"{asked}: the gateway answers {self.status}{where}, {self.why}"
        assert self.route
        lines = [f"{asked}: {self.service} by its route {self.route.path}"]
        if self.sent_path != self.path:
            lines.append(f"  it gets {self.method} {self.sent_path}")
        return "\n".join([*lines, *(f"  {change}" for change in (*describe_changes(self.route), *self.rules))])


def describe_share(service: str, percent: int) -> str:
    """Return in words who answers requests of a service with a canary, which gets this percentage."""
    return f"{100 - percent} % {service}, {percent} % its canary"


NO_SHARES: Mapping[str, int] = MappingProxyType({})
COLUMNS = ("route", "methods", "service", "it gets", "changes")


@dataclass(frozen=True)
class RouteRow:
    """One route, for a table."""

    service: str
    route: RouteSettings
    limits: RequestLimits = DEFAULT_LIMITS
    canary_percent: int = 0

    @property
    def cells(self) -> tuple[str, ...]:
        """Return its row in a table of these columns."""
        redirect = self.route.redirect
        gets = redirect_target(redirect, "") if redirect else self.route.service_path
        shown = f"{redirect.status} {gets}" if redirect else gets
        return (
            f"{self.route.host or ''}{self.route.path}",
            " ".join(self.route.methods) or "all",
            self.service,
            shown,
            ", ".join(
                [
                    *([describe_share(self.service, self.canary_percent)] if self.canary_percent else []),
                    *describe_changes(self.route),
                    *rules.describe_rules(self.route, self.limits),
                ]
            )
            or "none",
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        own, usual = self.limits, DEFAULT_LIMITS
        timeouts = Timeouts(
            *(
                None if value == default else value
                for value, default in ((own.connect, usual.connect), (own.idle, usual.idle))
            )
        )
        limited = msgspec.structs.replace(
            self.route, body=own.body or None, timeouts=NO_TIMEOUTS if timeouts == NO_TIMEOUTS else timeouts
        )
        canary = {"canary_percent": self.canary_percent} if self.canary_percent else {}
        return {"service": self.service, **msgspec.to_builtins(limited), **canary}


def list_routes(services: Sequence[Service], shares: Mapping[str, int] = NO_SHARES) -> list[RouteRow]:
    """Return all routes in the order in which the gateway tries them.

    Args:
        services: those of the stack.
        shares: the percentage of requests that each canary gets, by its service.
    """
    rows = [
        RouteRow(
            service.name,
            route,
            effective_limits(route, service.settings.gateway, service.defaults),
            0 if route.redirect else shares.get(service.name, 0),
        )
        for service in services
        for route in service.ruled_routes
    ]
    return sorted(rows, key=lambda row: (row.route.host or "", precedence(row.route.path)))


def find_fate(
    services: Sequence[Service],
    url: str,
    method: str = "GET",
    stack_hosts: Sequence[str] = (),
    facts: RequestFacts = rules.NO_FACTS,
    tls_port: int = 0,
) -> RequestFate:
    """Return what becomes of a request.

    Args:
        services: those of the stack.
        url: a URL, or a path, at the stack's host.
        method: the request's method.
        stack_hosts: the hosts of the stack, for routes that name none.
        facts: its headers, and where it comes from.
        tls_port: where the gateway speaks TLS, if it does: over HTTP it only says so.

    Raises:
        ConfigError: it is no URL, or there is no such method.
    """
    if method not in METHODS:
        raise ConfigError(f"there is no method {method!r:.40}", remedy=f"One of: {', '.join(METHODS)}.")
    found = _URL.fullmatch(url)
    if not found:
        raise ConfigError(f"{url!r:.200} is no URL and no path", remedy="Write a path such as /api/items, or a URL.")
    path, query = normalize_path(found["path"] or "/"), found["query"] or ""
    asked = f"{path}{query}"
    hosts = by_host(list_routes(services), lambda row: row.route.host, stack_hosts)
    authority = found["host"] or next(iter(stack_hosts), "")
    host = match_host(hosts, authority)
    fate = _find_fate(hosts.get(host, None if hosts else []), method, path, query, facts)
    if fate.status == 404 and path == f"{OWN_PATH}/docs" and any(service.settings.openapi for service in services):
        why = "the page of the services' APIs, unless the stack is protected"
        fate = RequestFate(method, asked, status=200, why=why)
    if tls_port and url.lower().startswith("http://") and not is_own_path(path):
        fate = RequestFate(method, asked, status=308, why=f"to {_https_url(authority, tls_port)}{asked}")
    return replace(fate, host=authority if host != ANY_HOST else "")


def _https_url(authority: str, port: int) -> str:
    host = re.sub(r":[0-9]*\Z", "", authority)
    return f"https://{host}{'' if port == 443 else f':{port}'}"


def _find_fate(rows: Sequence[RouteRow] | None, method: str, path: str, query: str, facts: RequestFacts) -> RequestFate:
    asked = f"{path}{query}"
    if own := _own_answer(path):
        return RequestFate(method, asked, status=own[0], why=own[1])
    if rows is None:
        return RequestFate(method, asked, status=404, why="no service has this host")
    for row in rows:
        if facts.asks_whether_a_page_may(row.route, method) and _is_below(path, row.route):
            question = RequestFate(method, asked, row.service, row.route, status=200)
            return _after_rules(question, row.limits, facts)
        takes_method = not row.route.methods or method in row.route.methods
        if takes_method and (fate := _met(row.route, row.service, method, path, query)):
            return _after_rules(fate, row.limits, facts)
    return RequestFate(method, asked, status=404, why="no service has this route")


def _own_answer(path: str) -> tuple[int, str] | None:
    """Return what the gateway answers whatever routes there are: its status, and why."""
    if "%00" in path or re.fullmatch(ENCODED_DOT_SEGMENT, path):
        return 400, AMBIGUOUS
    if path == f"{OWN_PATH}/health":
        return 200, "the gateway's own health"
    if path.startswith(f"{OWN_PATH}/"):
        return 404, "below this path the gateway answers itself"
    return None


def normalize_path(path: str) -> str:
    """Return a path without dot segments, with letters, digits and `-._~` as themselves, and no sign that none has."""
    decoded = _UNRESERVED.sub(lambda found: unquote(found[0]), path.replace("\\", "/"))
    decoded = _ENCODED_SIGNS.sub(lambda found: quote(found[0]), decoded)
    kept: list[str] = []
    segments = decoded.split("/")[1:]
    for number, segment in enumerate(segments):
        is_last = number == len(segments) - 1
        if segment == ".." and kept:
            kept.pop()
        if segment not in (".", ".."):
            kept.append(segment)
        elif is_last:
            kept.append("")
    return f"/{'/'.join(kept)}"


def _met(route: RouteSettings, service: str, method: str, path: str, query: str) -> RequestFate | None:
    """Return what becomes of a request that this route takes, or turns down; None for one that it leaves."""
    asked = f"{path}{query}"
    own = route.path.rstrip("/")
    if not _is_below(path, route):
        if own and re.fullmatch(written_otherwise(route.path), path):
            return RequestFate(method, asked, service, route, status=400, why=AMBIGUOUS)
        return None
    rest = path.removeprefix(own)
    if own and route.service_path == "/" and rest.startswith("//"):
        return RequestFate(method, asked, service, route, status=400, why="what is left begins with //, another host")
    if redirect := route.redirect:
        where = f"{(redirect.path or route.path).rstrip('/')}{rest}" or "/"
        why = redirect_target(redirect, f"{where}{query}")
        return RequestFate(method, asked, service, route, status=redirect.status, why=why)
    sent = f"{route.service_path.rstrip('/')}{rest}" or "/"
    return RequestFate(method, asked, service, route, sent_path=f"{sent}{query}")


def _is_below(path: str, route: RouteSettings) -> bool:
    return path == route.path or path.startswith(f"{route.path.rstrip('/')}/")


def _after_rules(fate: RequestFate, limits: RequestLimits, facts: RequestFacts) -> RequestFate:
    """Return what becomes of a request when the route's rules have looked at it, too."""
    assert fate.route
    if refusal := rules.find_refusal(fate.route, limits, facts, fate.method, answers_itself=bool(fate.status)):
        status, why = refusal
        return replace(fate, status=status, why=why, sent_path="")
    return replace(fate, rules=() if fate.status else tuple(rules.describe_rules(fate.route, limits, facts)))


def redirect_target(redirect: RedirectSettings, path: str) -> str:
    """Return where a redirect leads: HOST is the one that was asked."""
    scheme = f"{redirect.scheme}:" if redirect.scheme else ""
    host = f"//{redirect.host or 'HOST'}" if redirect.host or scheme else ""
    return f"to {scheme}{host}{path or redirect.path or ''}"


def describe_changes(route: RouteSettings) -> list[str]:
    """Return what a route changes about requests and answers, beyond their path."""
    found = [f"{PREFIX_HEADER}: {route.stripped_prefix}"] if route.stripped_prefix else []
    for headers, who in ((route.request_headers, ""), (route.response_headers, "answer: ")):
        found += [f"{who}{name}: {value}" for name, value in headers.set.items()]
        found += [f"{who}without {name}" for name in headers.remove]
    if route.timeout:
        found.append(f"at most {route.timeout} s")
    return [*found, *([f"for {describe_auth(route.auth)}"] if route.auth else [])]
