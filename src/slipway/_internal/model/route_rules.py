"""The rules of a route that need no identity: how many requests, from where, of which pages, how they are repeated.

A `[[routes]]` table has them, or the table `[gateway]` of a service or of the workspace for all routes below it.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from slipway._internal.model.containers import ErrorFactory
from slipway._internal.model.request_limits import BODY_REMEDY, RequestLimitSettings, body_problem

OFF = "off"
"""Switches off a rule that holds for all routes, where a route writes it in the rule's place."""
PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
COUNTED_BY = ("address", "route", "consumer")
CLAIM = "claim:"
_CLAIM_NAME = re.compile(r"[!-~]{1,200}")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ANY_ORIGIN = "*"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]{0,31}://(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)"
    r"(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*(?::[0-9]{1,5})?"
)


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many requests a route takes in a time, each caller's or all together.

    `by` says what tells callers apart: `address`, `consumer`, a token's claim (`claim:NAME`); `route`: nothing.
    `burst` is how many may come at once after a pause; `requests` without it.
    """

    requests: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    per: Literal["second", "minute", "hour", "day"]
    by: str = "address"
    burst: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None

    @property
    def claim(self) -> str:
        """The claim that tells callers apart; empty for none."""
        return self.by.removeprefix(CLAIM) if self.by.startswith(CLAIM) else ""

    @property
    def capacity(self) -> int:
        """The requests that may come at once."""
        return self.requests if self.burst is None else self.burst

    @property
    def retry_after(self) -> int:
        """The whole seconds after which one who was turned down may come again."""
        return math.ceil(PERIODS[self.per] / self.requests)


class CorsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab"):
    """Which pages of other origins may call a route; the gateway answers browsers that ask (preflight requests)."""

    origins: tuple[str, ...]
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    credentials: bool = False
    max_age: Annotated[int, Meta(ge=0, le=86400)] = 600


RetryReason = Literal["connect", "reset", "502", "503", "504"]


class RetrySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab"):
    """When a request is sent again, to another container where there is one.

    Attributes:
        times: how often at most.
        on: `connect`, it has reached no container; `reset`, it was dropped before an answer; an answer's status.
        any_method: also a POST or PATCH that has reached a container, which may then do its work twice.
    """

    times: Annotated[int, Meta(ge=1, le=10)] = 4
    on: tuple[RetryReason, ...] = ("connect", "reset")
    any_method: bool = False


class CacheSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How long the gateway keeps a service's answers: those with the status 200 to GET and HEAD.

    An answer is not kept if it sets a cookie, or if its Cache-Control says `private`, `no-store` or `no-cache`; it is
    kept less long if that says so by `s-maxage` or `max-age` (RFC 9111, section 4.2.1).

    Attributes:
        seconds: how long at most.
        vary: the headers of requests by which answers differ, besides OWN_VARIATIONS.
    """

    seconds: Annotated[int, Meta(ge=1, le=86400)]
    vary: tuple[str, ...] = ()


CACHED_METHODS = ("GET", "HEAD")
OWN_VARIATIONS = ("Accept-Encoding", "Authorization", "Cookie")
"""Headers that tell kept answers apart in any case: nobody gets what was made for somebody else."""
ORIGIN_VARIATION = "Origin"
"""Tells kept answers apart where pages of other origins may call."""


class RuleSettings(RequestLimitSettings, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """The rules that a route may have itself, or by default from the tables `[gateway]`.

    Attributes:
        limit: how many requests it takes in a time.
        allow: the only addresses that it takes requests from.
        deny: the addresses that it takes none from, whatever `allow` says.
        cors: which pages of other origins may call it.
        retries: how requests are repeated, or how often; 0 for never.
        compression: whether answers are compressed for callers that take it.
        websockets: whether a connection may change to another protocol, such as WebSocket.
        cache: how long answers are kept, for all who ask the same; not of a route with `auth`.
    """

    limit: LimitSettings | Literal["off"] | None = None
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] | None = None
    cors: CorsSettings | None = None
    retries: RetrySettings | Annotated[int, Meta(ge=0, le=10)] | None = None
    compression: bool | None = None
    websockets: bool | None = None
    cache: CacheSettings | Literal["off"] | None = None

    @property
    def rate_limit(self) -> LimitSettings | None:
        """The limit in force."""
        return self.limit if isinstance(self.limit, LimitSettings) else None

    @property
    def kept_answers(self) -> CacheSettings | None:
        """How long answers are kept; None for not at all."""
        return self.cache if isinstance(self.cache, CacheSettings) else None

    @property
    def variations(self) -> tuple[str, ...]:
        """The headers of requests that tell kept answers apart, each once, in lower case."""
        named = self.kept_answers.vary if self.kept_answers else ()
        own = (*OWN_VARIATIONS, *([ORIGIN_VARIATION] if self.cors else []))
        return tuple(sorted({name.lower() for name in (*own, *named)}))

    @property
    def retry_policy(self) -> RetrySettings | None:
        """How requests are repeated; None for never."""
        if isinstance(self.retries, int):
            return RetrySettings(times=self.retries) if self.retries else None
        return self.retries or RetrySettings()


class ServiceGatewaySettings(RuleSettings, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """A service's own rules; what it does not say, the workspace says for all."""


NO_RULES = ServiceGatewaySettings()

RULES = tuple(name for name in RuleSettings.__struct_fields__ if name not in RequestLimitSettings.__struct_fields__)
"""The fields of the rules that are a route's own, its service's or its workspace's, the first that says one."""
_WITHOUT_EFFECT = {"limit": OFF, "deny": (), "compression": False, "websockets": True, "cache": OFF}
OF_SERVED_ROUTES = frozenset({"body", "timeouts", "cors", "retries", "compression", "websockets", "cache"})
"""The rules that a route with a `redirect` cannot have: it reaches no service."""

RuledT = TypeVar("RuledT", bound=RuleSettings)


def with_defaults(route: RuledT, *defaults: RuleSettings, is_served: bool = True) -> RuledT:
    """Return a route with the rules in force: its own, or the first of the defaults that says one."""
    found = {}
    for name in RULES:
        values = (
            getattr(settings, name) for settings in (route, *(defaults if is_served or _is_general(name) else ()))
        )
        found[name] = next((value for value in values if value is not None), None)
    for name in ("limit", "cache"):
        if found[name] == OFF:
            found[name] = None
    return msgspec.structs.replace(route, **found)


def origin_pattern(origin: str) -> str:
    """Return the pattern of the origins that one stands for; the star is any, or one name."""
    return ".*" if origin == ANY_ORIGIN else re.escape(origin).replace(r"\*", "[a-z0-9-]+")


def is_allowed(rules: RuleSettings, address: str) -> bool:
    """Whether requests from an address are taken."""
    return (not rules.allow or _is_in(address, rules.allow)) and not _is_in(address, rules.deny or ())


def _is_in(address: str, networks: Sequence[str]) -> bool:
    found = ipaddress.ip_address(address)
    return any(found in ipaddress.ip_network(network) for network in networks)


def rules_in_force(rules: RuleSettings) -> list[str]:
    """Return the keys of the rules that say something else than their absence would."""
    values = {name: getattr(rules, name) for name in RULES}
    return [name for name, value in values.items() if value is not None and value != _WITHOUT_EFFECT.get(name)]


def is_network(text: str) -> bool:
    """Whether a text is an address, or a range in CIDR notation, that a connection can come from."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return False
    bits = text.partition("/")[2]
    return "%" not in text and "." not in bits and not (network.version == 6 and network.network_address.ipv4_mapped)


def check_rules(rules: RuleSettings, keys: tuple[str, ...], methods: tuple[str, ...], refuse: ErrorFactory) -> None:
    """Check the rules that a table has.

    Args:
        rules: the table.
        keys: where it stands in its file.
        methods: the only ones of its route, if it has such.
        refuse: makes the error.

    Raises:
        ConfigError: anything in them is wrong.
    """
    if problem := body_problem(rules.body):
        raise refuse((*keys, "body"), problem, BODY_REMEDY)
    for key, networks in (("allow", rules.allow), ("deny", rules.deny)):
        if key == "allow" and networks == ():
            raise refuse(
                (*keys, key),
                "`allow` is empty, so nobody could come",
                'Name addresses, or all of them: allow = ["0.0.0.0/0", "::/0"].',
            )
        for network in networks or ():
            if not is_network(network):
                raise refuse(
                    (*keys, key),
                    f"`{key}` names {network!r:.80}, which is no address and no range",
                    'Write such as "192.0.2.7", "10.0.0.0/8" or "2001:db8::/32", without bits beyond the range\'s.',
                )
    if rules.rate_limit and rules.rate_limit.by not in COUNTED_BY and not _CLAIM_NAME.fullmatch(rules.rate_limit.claim):
        raise refuse(
            (*keys, "limit", "by"),
            f"`by` of `limit` is {rules.rate_limit.by!r:.80}",
            f"There are {', '.join(COUNTED_BY)} and a claim of the caller's token: claim:sub.",
        )
    if rules.cors is not None:
        for key, problem, remedy in _cors_problems(rules.cors, methods):
            raise refuse((*keys, "cors", key), f"`{key}` of `cors` {problem}", remedy)
    if isinstance(rules.retries, RetrySettings) and not rules.retries.on:
        raise refuse((*keys, "retries", "on"), "`on` of `retries` is empty", "Write retries = 0 to repeat nothing.")
    for name in rules.kept_answers.vary if rules.kept_answers else ():
        if not _HEADER_NAME.fullmatch(name) or name == "*":
            raise refuse(
                (*keys, "cache", "vary"),
                f"`vary` of `cache` names {name!r:.80}, which is no header's name",
                'Write such as vary = ["Accept"]; Accept-Encoding, Authorization and Cookie are in it anyway.',
            )
    if rules.kept_answers and methods and not {*methods} & {*CACHED_METHODS}:
        raise refuse(
            (*keys, "cache"), "`cache` is for answers to GET and HEAD, which the route does not take", "Remove `cache`."
        )


def limit_problem(rules: RuleSettings, kind: str) -> str:
    """Return what a limit in force lacks to tell callers apart; empty if nothing.

    Args:
        rules: those in force.
        kind: how the route's callers prove who they are; empty if they need not.
    """
    limit = rules.rate_limit
    if limit and limit.by == "consumer" and kind not in ("keys", "basic"):
        return "`limit` counts consumers, but the route does not ask for their keys"
    if limit and limit.claim and kind != "jwt":
        return f"`limit` counts by the claim {limit.claim!r:.80}, but the route does not ask for tokens"
    return ""


def cache_problem(rules: RuleSettings, kind: str) -> str:
    """Return why answers may not be kept, by the rules in force; empty if they may, or are not.

    Args:
        rules: those in force.
        kind: how the route's callers prove who they are; empty if they need not.
    """
    return (
        f"`cache` would keep what was made for one caller: the route has `auth` by {kind}"
        if (rules.kept_answers and kind)
        else ""
    )


def _is_general(name: str) -> bool:
    return name not in OF_SERVED_ROUTES


def _cors_problems(cors: CorsSettings, methods: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    if not cors.origins:
        yield "origins", "is empty", 'Name the origins of the pages: origins = ["https://app.example.com"].'
    for origin in cors.origins:
        if origin != ANY_ORIGIN and not _ORIGIN.fullmatch(origin):
            yield (
                "origins",
                f"names {origin!r:.80}, which is no origin",
                'Write it as a browser does, scheme and host in lower case and no path: "https://app.example.com", '
                '"https://*.example.com" for one name in the place of the star, or "*".',
            )
    if cors.credentials and ANY_ORIGIN in cors.origins:
        yield (
            "origins",
            'is "*" with `credentials`: any page could act as the one who is logged in',
            "Name the origins, or remove `credentials`.",
        )
    for method in cors.methods:
        if method not in METHODS:
            yield "methods", f"names {method!r:.40}", f"There are {', '.join(METHODS)}."
        if methods and method not in methods:
            yield "methods", f"names {method}, which the route does not take", "Remove it, or add it to the route's."
    for key, names in (("headers", cors.headers), ("expose", cors.expose)):
        for name in names:
            if not _HEADER_NAME.fullmatch(name):
                yield key, f"names {name!r:.80}, which is no header's name", "Write a name such as X-Api-Version."
            if name == "*" and cors.credentials:
                yield key, 'is "*" with `credentials`, where browsers take it for a name', "Name the headers."
