"""Says in words what a route's rules are, and what they do with a request; nothing is sent.

The order is the gateway's: addresses, browsers' questions, the size of a body, who calls, changed protocols.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from slipway._internal.commands.envoy_routes import SIZE_UNITS
from slipway._internal.commands.envoy_rules import IPV6_PREFIX, UPGRADES
from slipway._internal.insight.callers import caller_refusal
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.request_limits import DEFAULT_LIMITS, RequestLimits
from slipway._internal.model.route_rules import CorsSettings, LimitSettings, is_allowed, origin_pattern
from slipway._internal.model.routes import RouteSettings

_HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}):[ \t]*([^\r\n\0]*)")
_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class RequestFacts:
    """What is known of a request besides its URL and method: headers by lower-case name, and where it comes from."""

    headers: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    @staticmethod
    def of(headers: Iterable[str], source: str = "") -> RequestFacts:
        """Return what words say: headers as `Name: value`, and an IP address.

        Raises:
            ConfigError: they say nothing of that kind.
        """
        found = {}
        for header in headers:
            match = _HEADER.fullmatch(header)
            if not match:
                raise ConfigError(f"{header!r:.100} is no header", remedy="Write it as curl has it: -H 'Name: value'.")
            found[match[1].lower()] = match[2].rstrip()
        try:
            address = f"{ipaddress.ip_address(source)}" if source else ""
        except ValueError as error:
            raise ConfigError(
                f"{source!r:.100} is no address", remedy="Write the caller's IP address: --from 192.0.2.7."
            ) from error
        return RequestFacts(found, address)

    def asks_whether_a_page_may(self, route: RouteSettings, method: str) -> bool:
        """Whether it is a browser's question that the gateway answers for a route."""
        asked_method = self.headers.get("access-control-request-method", "")
        known = asked_method in route.methods if route.methods else re.fullmatch("[A-Za-z]+", asked_method)
        return bool(route.cors and method == "OPTIONS" and self.headers.get("origin") and known)

    @property
    def upgrade(self) -> str:
        """The protocol that the connection shall change to, in lower case."""
        connection = [word.strip().lower() for word in self.headers.get("connection", "").split(",")]
        return self.headers.get("upgrade", "").lower() if "upgrade" in connection else ""


NO_FACTS = RequestFacts()


def find_refusal(
    route: RouteSettings, limits: RequestLimits, facts: RequestFacts, method: str, *, answers_itself: bool
) -> tuple[int, str] | None:
    """Return the status with which a rule ends a request, and why; None where none does.

    Args:
        route: with the rules in force.
        limits: those in force.
        facts: what is known of the request.
        method: its method.
        answers_itself: whether the gateway answers without the service, in any case.
    """
    if facts.source and not is_allowed(route, facts.source):
        return 403, f"its rules take nothing from {facts.source}"
    if route.cors and facts.asks_whether_a_page_may(route, method):
        origin = facts.headers["origin"]
        may = "may" if _takes_origin(route.cors, origin) else "may not"
        return 200, f"a browser's question: a page of {origin} {may} call it"
    if answers_itself:
        return None
    return _service_refusal(route, limits, facts)


def _service_refusal(route: RouteSettings, limits: RequestLimits, facts: RequestFacts) -> tuple[int, str] | None:
    """Return by which rule a request does not reach the service."""
    length = facts.headers.get("content-length", "")
    if limits.body and _LENGTH.fullmatch(length) and int(length) > _bytes(limits.body):
        return 413, f"a body may have {limits.body}"
    if route.auth and (refusal := caller_refusal(route.auth, facts.headers)):
        return refusal
    if route.websockets is False and facts.upgrade in UPGRADES:
        return 403, "its connections keep their protocol"
    return None


def describe_rules(route: RouteSettings, limits: RequestLimits, facts: RequestFacts = NO_FACTS) -> list[str]:
    """Return a route's rules in words; of those that look at what is known of a request, what they find."""
    found = []
    if route.allow and not facts.source:
        found.append(f"only from {', '.join(route.allow)}")
    if route.deny and not facts.source:
        found.append(f"not from {', '.join(route.deny)}")
    if route.cors:
        found.append(_describe_cors(route.cors, facts.headers.get("origin", "")))
    if route.rate_limit:
        found.append(_describe_limit(route.rate_limit, facts.source))
    if limits.body:
        found.append(f"bodies up to {limits.body}")
    if limits.idle != DEFAULT_LIMITS.idle:
        found.append(f"at most {limits.idle} s without a byte")
    if route.retries is not None:
        policy = route.retry_policy
        also = ", any method" if policy and policy.any_method else ""
        found.append(f"repeated {policy.times} times on {', '.join(policy.on)}{also}" if policy else "never repeated")
    if route.compression:
        found.append("compressed")
    if route.websockets is False:
        found.append("no change of protocol")
    if kept := route.kept_answers:
        found.append(f"answers kept {kept.seconds} s, for each {', '.join(route.variations)}")
    return found


def _describe_limit(limit: LimitSettings, source: str) -> str:
    words = {"address": "an address", "route": "all together", "consumer": "a consumer"}
    who = words.get(limit.by, f"a {limit.claim} of tokens")
    if limit.by == "address" and source:
        address = ipaddress.ip_address(source)
        who = f"{ipaddress.ip_network((address, IPV6_PREFIX), strict=False)}" if address.version == 6 else source
    times = "request" if limit.requests == 1 else "requests"
    return f"{limit.requests} {times} a {limit.per} for {who}, {limit.capacity} at once; else 429"


def _describe_cors(cors: CorsSettings, origin: str) -> str:
    if not origin:
        return f"for pages of {', '.join(cors.origins)}"
    return f"a page of {origin} may {'' if _takes_origin(cors, origin) else 'not '}read the answer"


def _takes_origin(cors: CorsSettings, origin: str) -> bool:
    return any(re.fullmatch(origin_pattern(allowed), origin) for allowed in cors.origins)


def _bytes(size: str) -> int:
    return int(size[:-1]) * SIZE_UNITS[size[-1]]
