"""A route's rules as a policy of Azure API Management: a pure function from a route to XML.

A policy may hold expressions in C#, and named values in double braces. What a toml file says must never become either:
`literal` and `quote` are the only ways by which its texts come into a policy.

The elements and their order are those of the policies' reference, section by section.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from xml.etree import ElementTree as ET  # what is written here, and nothing is read

from slipway._internal.commands.azure_rules import MAX_FORWARD_SECONDS, public_keys
from slipway._internal.model.auth import CONSUMER_HEADER, JwtSettings, spellings
from slipway._internal.model.engine_routes import EngineRoute
from slipway._internal.model.route_rules import (
    METHODS,
    PERIODS,
    CacheSettings,
    CorsSettings,
    LimitSettings,
    RetrySettings,
)
from slipway._internal.model.routes import PREFIX_HEADER, RedirectSettings

MAX_RATE_SECONDS = 300
"""The longest window of rate-limit-by-key; a longer one is quota-by-key's, which answers 403."""
MAX_UNKNOWN_BODY_BYTES = 16 << 20
QUERY_KEY = "subscription-key"
"""Where Azure also takes keys from, which no route here does."""
CLOCK_SKEW_SECONDS = 30
RETRY_AFTER_SECONDS = 300
_SIZES = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_PLAIN = re.compile(r"[A-Za-z0-9 ._~/:;=,+*'\"!?#$%&()<>|^\\\[\]`-]*")
_CALLER = '((Jwt)context.Variables["token"])'
_IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
_KEPT_SECONDS = r"""
var said = context.Response.Headers.GetValueOrDefault("Cache-Control", "").ToLowerInvariant();
if (context.Response.StatusCode != 200 || context.Response.Headers.ContainsKey("Set-Cookie")) { return 0; }
if (Regex.IsMatch(said, "private|no-store|no-cache")) { return 0; }
var age = Regex.Match(said, "s-maxage\\s*=\\s*\"?([0-9]{1,9})");
if (!age.Success) { age = Regex.Match(said, "max-age\\s*=\\s*\"?([0-9]{1,9})"); }
if (!age.Success) { return context.Response.Headers.ContainsKey("Expires") ? 0 : MOST; }
return Math.Min(int.Parse(age.Groups[1].Value), MOST);
"""

Element = ET.Element


def literal(text: str) -> str:
    """Return what a policy reads as this text: the text itself, or an expression that is nothing but it."""
    return text if _PLAIN.fullmatch(text) else f"@({quote(text)})"


def quote(text: str) -> str:
    """Return a text as C# writes it, without any sign that could end it, begin an expression, or name a value."""
    units = text.encode("utf-16-be", "surrogatepass")
    codes = [int.from_bytes(units[start : start + 2], "big") for start in range(0, len(units), 2)]
    return '"' + "".join(chr(code) if _is_letter(code) else f"\\u{code:04x}" for code in codes) + '"'


def render_policy(wanted: EngineRoute, hidden: Collection[str] = (), *, is_down: bool = False) -> str:
    """Return a route's policy.

    Args:
        wanted: the route; its issuer's keys stand in the place of their file's name.
        hidden: the headers that checks give services, which no caller may send to any route.
        is_down: whether the service is in maintenance: it is not called.
    """
    root = Element("policies")
    inbound, backend, outbound, on_error = (
        ET.SubElement(root, name) for name in ("inbound", "backend", "outbound", "on-error")
    )
    for section in (inbound, outbound, on_error):
        _add(section, "base")
    _add_inbound(inbound, wanted, hidden, is_down=is_down)
    backend.append(_backend(wanted))
    if kept := wanted.route.kept_answers:
        _add_storage(outbound, kept)
    _add_headers(outbound, wanted.route.response_headers.set, wanted.route.response_headers.remove)
    limit = wanted.route.rate_limit
    if limit and PERIODS[limit.per] > MAX_RATE_SECONDS:
        when = _add(_add(on_error, "choose"), "when", condition='@(context.LastError.Reason == "QuotaExceeded")')
        _add(when, "set-status", code="429", reason="Too Many Requests")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _add_inbound(inbound: Element, wanted: EngineRoute, hidden: Collection[str], *, is_down: bool) -> None:
    """Add what is done with a request, in the model's order: addresses, size, who calls, how often."""
    route = wanted.route
    if route.cors:
        inbound.append(_cors(route.cors, route.methods))
    for action, networks in (("forbid", route.deny), ("allow", route.allow)):
        if networks:
            inbound.append(_addresses(action, networks))
    if wanted.limits.body and not route.redirect:
        inbound.append(_answer_when(_is_too_large(wanted.limits.body), 413, "Payload Too Large"))
    if route.auth and route.auth.key_settings:
        in_query = f"@(context.Request.OriginalUrl.Query.ContainsKey({quote(QUERY_KEY)}))"
        inbound.append(_answer_when(in_query, 401, "Unauthorized"))
    if route.auth and route.auth.jwt:
        inbound.append(_token(route.auth.jwt))
    if route.rate_limit:
        _add_limit(inbound, wanted.name, route.rate_limit)
    if is_down:
        down = _answer(503, "Service Unavailable")
        _set(down, "Retry-After", str(RETRY_AFTER_SECONDS))
        inbound.append(down)
    if route.redirect:
        inbound.append(_redirection(route.path, route.redirect))
    if route.kept_answers:
        inbound.append(_lookup(route.variations))
    _add_request_headers(inbound, wanted, hidden)
    if not route.redirect:
        _add(inbound, "set-backend-service", **{"backend-id": wanted.service.name})
        path = f"{quote(route.service_path.rstrip('/'))} + {_rest(route.path)}"
        _add(inbound, "rewrite-uri", template=f'@{{ var path = {path}; return path == "" ? "/" : path; }}')


def _add_request_headers(inbound: Element, wanted: EngineRoute, hidden: Collection[str]) -> None:
    route, auth = wanted.route, wanted.route.auth
    own = {*auth.jwt.headers.values()} if auth and auth.jwt else set()
    for name in sorted({spelling for header in (CONSUMER_HEADER, *hidden, *own) for spelling in spellings(header)}):
        _delete(inbound, name)
    if auth and auth.key_settings:
        _delete(inbound, auth.key_settings.header)
        _set(inbound, CONSUMER_HEADER, "@(context.Subscription.Name)")
    if auth and auth.jwt:
        for claim, name in sorted(auth.jwt.headers.items()):
            said = f"{_CALLER}.Claims.ContainsKey({quote(claim)})"
            when = _add(_add(inbound, "choose"), "when", condition=f"@({said})")
            _set(when, name, f"@({_claim(claim)})")
        if not auth.jwt.forward:
            _delete(inbound, "Authorization")
    _add_headers(inbound, route.request_headers.set, route.request_headers.remove)
    if route.stripped_prefix:
        _set(inbound, PREFIX_HEADER, literal(route.stripped_prefix))
    for name, said in (
        ("Host", "OriginalUrl.Host"),
        ("X-Forwarded-Host", "OriginalUrl.Host"),
        ("X-Forwarded-Proto", "OriginalUrl.Scheme"),
        ("X-Real-IP", "IpAddress"),
    ):
        _set(inbound, name, f"@(context.Request.{said})")


def _cors(cors: CorsSettings, methods: Sequence[str]) -> Element:
    found = Element(
        "cors", {"allow-credentials": _word(cors.credentials), "terminate-unmatched-request": _word(said=False)}
    )
    _list(found, "allowed-origins", "origin", cors.origins)
    named = _list(found, "allowed-methods", "method", cors.methods or methods or METHODS)
    named.set("preflight-result-max-age", str(cors.max_age))
    if cors.headers:
        _list(found, "allowed-headers", "header", cors.headers)
    if cors.expose:
        _list(found, "expose-headers", "header", cors.expose)
    return found


def _addresses(action: str, networks: Sequence[str]) -> Element:
    found = Element("ip-filter", {"action": action})
    known = [ipaddress.ip_network(network) for network in networks]
    for network in sorted(known, key=lambda network: network.num_addresses > 1):
        if network.num_addresses == 1:
            _add(found, "address").text = str(network[0])
        else:
            _add(found, "address-range", **{"from": str(network[0]), "to": str(network[-1])})
    return found


def _is_too_large(body: str) -> str:
    """Return what finds a body that is too large: by its length, or, where it comes without one, by reading it."""
    limit = int(body[:-1]) * _SIZES[body[-1]]
    unknown = min(limit, MAX_UNKNOWN_BODY_BYTES)
    return (
        '@{ long length; var said = context.Request.Headers.GetValueOrDefault("Content-Length", ""); '
        "if (long.TryParse(said, out length)) "
        f"{{ return length > {limit}L; }} "
        f"return context.Request.Body != null && "
        f"context.Request.Body.As<byte[]>(preserveContent: true).Length > {unknown}; }}"
    )


def _token(jwt: JwtSettings) -> Element:
    found = Element(
        "validate-jwt",
        {
            "header-name": "Authorization",
            "failed-validation-httpcode": "401",
            "require-expiration-time": _word(said=True),
            "require-scheme": "Bearer",
            "require-signed-tokens": _word(said=True),
            "clock-skew": str(CLOCK_SKEW_SECONDS),
            "output-token-variable-name": "token",
        },
    )
    keys = _add(found, "issuer-signing-keys")
    for key in public_keys(jwt):
        named = {"id": str(key["kid"])} if "kid" in key else {}
        _add(keys, "key", **named, n=str(key["n"]), e=str(key["e"]))
    _list(found, "audiences", "audience", jwt.audiences)
    _list(found, "issuers", "issuer", [jwt.issuer])
    if jwt.claims:
        claims = _add(found, "required-claims")
        for name, wanted in sorted(jwt.claims.items()):
            words = {"separator": " "} if name == "scope" else {}
            claim = _add(claims, "claim", name=name, match="all", **words)
            for text in (wanted,) if isinstance(wanted, str) else wanted:
                _add(claim, "value").text = text
    return found


def _add_limit(inbound: Element, name: str, limit: LimitSettings) -> None:
    who = {"address": "context.Request.IpAddress", "consumer": "context.Subscription.Id", "route": ""}.get(limit.by)
    if who is None:
        inbound.append(_answer_when(f"@(!{_CALLER}.Claims.ContainsKey({quote(limit.claim)}))", 403, "Forbidden"))
        who = _claim(limit.claim)
    counted = f"@({quote(f'{name} ')} + {who})" if who else name
    seconds = PERIODS[limit.per]
    kind = "rate-limit-by-key" if seconds <= MAX_RATE_SECONDS else "quota-by-key"
    _add(inbound, kind, **{"calls": str(limit.requests), "renewal-period": str(seconds), "counter-key": counted})


def _claim(name: str) -> str:
    return f'{_CALLER}.Claims.GetValueOrDefault({quote(name)}, "")'


def _redirection(path: str, redirect: RedirectSettings) -> Element:
    target = (redirect.path or path).rstrip("/")
    where = f"{quote(target)} + {_rest(path)}"
    before = '""'
    if redirect.scheme or redirect.host:
        scheme = quote(redirect.scheme) if redirect.scheme else "context.Request.OriginalUrl.Scheme"
        host = quote(redirect.host) if redirect.host else "context.Request.OriginalUrl.Host"
        before = f'{scheme} + "://" + {host}'
    found = _answer(redirect.status, {301: "Moved Permanently", 302: "Found"}[redirect.status])
    _set(
        found,
        "Location",
        f'@{{ var path = {where}; return {before} + (path == "" ? "/" : path) + '
        "context.Request.OriginalUrl.QueryString; }",
    )
    return found


def _rest(path: str) -> str:
    """Return what says the part of a request's path that is below a route's own."""
    return f"context.Request.OriginalUrl.Path.Substring({len(path.rstrip('/'))})"


def _lookup(variations: Sequence[str]) -> Element:
    found = Element(
        "cache-lookup",
        {
            "vary-by-developer": _word(said=False),
            "vary-by-developer-groups": _word(said=False),
            "downstream-caching-type": "none",
            "allow-private-response-caching": _word(said=False),
        },
    )
    for name in variations:
        _add(found, "vary-by-header").text = literal(name)
    return found


def _add_storage(outbound: Element, kept: CacheSettings) -> None:
    """Add what keeps an answer: not one for a single caller, and no longer than the service says."""
    seconds = _KEPT_SECONDS.replace("MOST", str(kept.seconds))
    _add(outbound, "set-variable", name="kept", value="@{ " + " ".join(seconds.split()) + " }")
    kept_seconds = '(int)context.Variables["kept"]'
    _add(outbound, "cache-store", **{"duration": f"@({kept_seconds})", "cache-response": f"@({kept_seconds} > 0)"})


def _backend(wanted: EngineRoute) -> Element:
    wait = str(min(wanted.limits.idle, MAX_FORWARD_SECONDS))
    policy = wanted.route.retries if isinstance(wanted.route.retries, RetrySettings) else None
    forward = Element("forward-request", {"timeout": wait, "follow-redirects": _word(said=False)})
    if not policy:
        return forward
    forward.set("buffer-request-body", _word(said=True))
    status = " || ".join(f"context.Response.StatusCode == {int(reason)}" for reason in policy.on)
    methods = ", ".join(map(quote, _IDEMPOTENT))
    repeatable = "" if policy.any_method else f" && new[] {{ {methods} }}.Contains(context.Request.Method)"
    found = Element(
        "retry",
        {
            "condition": f"@(context.Response != null && ({status}){repeatable})",
            "count": str(policy.times),
            "interval": "0",
            "first-fast-retry": _word(said=True),
        },
    )
    found.append(forward)
    return found


def _answer(status: int, reason: str) -> Element:
    found = Element("return-response")
    _add(found, "set-status", code=str(status), reason=reason)
    return found


def _answer_when(condition: str, status: int, reason: str) -> Element:
    found = Element("choose")
    _add(found, "when", condition=condition).append(_answer(status, reason))
    return found


def _add_headers(section: Element, given: dict[str, str], removed: Sequence[str]) -> None:
    for name in removed:
        _delete(section, name)
    for name, value in sorted(given.items()):
        _set(section, name, literal(value))


def _set(parent: Element, name: str, value: str) -> None:
    header = _add(parent, "set-header", **{"name": literal(name), "exists-action": "override"})
    _add(header, "value").text = value


def _delete(parent: Element, name: str) -> None:
    _add(parent, "set-header", **{"name": literal(name), "exists-action": "delete"})


def _list(parent: Element, name: str, kind: str, texts: Sequence[str]) -> Element:
    found = _add(parent, name)
    for text in texts:
        _add(found, kind).text = text
    return found


def _add(parent: Element, tag: str, **attributes: str) -> Element:
    return ET.SubElement(parent, tag, attributes)


def _word(said: bool) -> str:
    return "true" if said else "false"


def _is_letter(code: int) -> bool:
    return code < 128 and (chr(code).isalnum() or chr(code) in " ._/:-")
