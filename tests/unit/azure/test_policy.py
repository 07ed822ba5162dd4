"""A route's policy on Azure API Management: well-formed, in the documented order, and free of what a toml file says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.kong.stack_routes import STACK, load
from tests.unit.model.test_routes import SERVICE

from slipway._internal.commands.azure_policy import literal, quote, render_policy
from slipway._internal.commands.azure_rules import AZURE, azure_refusals, check_azure_paths
from slipway._internal.insight import engines
from slipway._internal.model.auth import AuthSettings, JwtSettings
from slipway._internal.model.engine_routes import EngineRoute, check_engine, engine_routes
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.route_rules import CacheSettings, CorsSettings, LimitSettings, RetrySettings
from slipway._internal.model.routes import HeaderSettings, RedirectSettings, RouteSettings
from slipway._internal.model.workspace import Service, ServiceSettings

HERE = Path(__file__).parent
KEY = {"kty": "RSA", "kid": "one", "n": "AQAB", "e": "AQAB", "alg": "RS256"}
JWKS = json.dumps({"keys": [KEY]})
ORDERS = {
    "policies": ["inbound", "backend", "outbound", "on-error"],
    "cors": ["allowed-origins", "allowed-methods", "allowed-headers", "expose-headers"],
    "validate-jwt": ["issuer-signing-keys", "audiences", "issuers", "required-claims"],
    "cache-lookup": ["vary-by-header"],
    "ip-filter": ["address", "address-range"],
    "return-response": ["set-status", "set-header"],
    "retry": ["forward-request"],
    "choose": ["when"],
}
"""The order of elements in others, as the policies' reference has it."""
SECTIONS = {
    "inbound": {
        *(
            "base",
            "cors",
            "ip-filter",
            "choose",
            "validate-jwt",
            "rate-limit-by-key",
            "quota-by-key",
            "return-response",
        ),
        *("cache-lookup", "set-header", "set-backend-service", "rewrite-uri"),
    },
    "backend": {"forward-request", "retry"},
    "outbound": {"base", "set-variable", "cache-store", "set-header"},
    "on-error": {"base", "choose"},
}
"""In which sections a policy may stand, by the reference."""
ATTRIBUTES = {
    "rate-limit-by-key": {"calls", "renewal-period", "counter-key"},
    "quota-by-key": {"calls", "renewal-period", "counter-key"},
    "set-header": {"name", "exists-action"},
    "cache-store": {"duration", "cache-response"},
    "retry": {"condition", "count", "interval", "first-fast-retry"},
    "set-status": {"code", "reason"},
    "rewrite-uri": {"template"},
    "set-backend-service": {"backend-id"},
    "when": {"condition"},
}
FULL = RouteSettings(
    path="/orders",
    methods=("GET", "HEAD"),
    strip=True,
    body="1m",
    allow=("10.0.0.0/8", "192.0.2.7"),
    deny=("10.0.0.7",),
    limit=LimitSettings(100, "minute"),
    cors=CorsSettings(("https://app.example.com",), expose=("X-Total",), headers=("X-Token",), credentials=True),
    retries=RetrySettings(2, ("503",)),
    cache=CacheSettings(60, ("Accept",)),
    request_headers=HeaderSettings({"X-Tier": "gold"}, ("Cookie",)),
    response_headers=HeaderSettings({"X-Frame-Options": "DENY"}, ("X-Powered-By",)),
)
JWT = RouteSettings(
    path="/v1",
    rewrite="/internal/v2",
    limit=LimitSettings(5, "hour", "claim:sub"),
    auth=AuthSettings(
        jwt=JwtSettings(
            "https://login.example.com", ("orders",), jwks=JWKS, claims={"scope": ("a", "b")}, headers={"sub": "X-User"}
        )
    ),
)
KEYS = RouteSettings(path="/k", auth=AuthSettings(keys=True), limit=LimitSettings(5, "second", "consumer"))
MOVED = RouteSettings(path="/old", redirect=RedirectSettings("https", path="/new", status=301), deny=("10.0.0.7",))


def wanted(route: RouteSettings) -> EngineRoute:
    return EngineRoute(
        Service("api", Path("services/api"), ServiceSettings(kind="k", port=1, routes=(route,))), 0, route
    )


def policy(route: RouteSettings, **more: Any) -> ET.Element:
    return ET.fromstring(render_policy(wanted(route), **more))


def texts(root: ET.Element) -> Iterator[str]:
    for element in root.iter():
        yield from (element.text or "", element.tail or "", *element.attrib.values())


def names(root: ET.Element, section: str) -> list[str]:
    return [element.tag for element in root.find(section) or ()]


@pytest.mark.parametrize("route", [FULL, JWT, KEYS, MOVED, RouteSettings(path="/")], ids=lambda route: route.path)
@pytest.mark.parametrize("is_down", [False, True])
def test_a_policy_has_the_documented_elements_in_their_order(route: RouteSettings, is_down: bool) -> None:
    root = policy(route, hidden=("x-user",), is_down=is_down)
    for element in root.iter():
        inside = [child.tag for child in element]
        if element.tag in ORDERS:
            assert {*inside} <= {*ORDERS[element.tag]}
            assert inside == sorted(inside, key=ORDERS[element.tag].index)
        if element.tag in ATTRIBUTES:
            assert element.attrib.keys() == ATTRIBUTES[element.tag]
    for section, known in SECTIONS.items():
        assert {*names(root, section)} <= known
    assert [element.tag for element in root.find("backend") or ()] in (["forward-request"], ["retry"])
    assert not any("{{" in text for text in texts(root)), "nothing names a named value"


def test_a_policy_is_as_it_was_checked() -> None:
    for name, route in (("full", FULL), ("jwt", JWT), ("keys", KEYS), ("moved", MOVED)):
        assert render_policy(wanted(route)) == (HERE / f"{name}.xml").read_text(encoding="utf-8"), name


def test_the_rules_come_in_the_models_order() -> None:
    assert names(policy(FULL), "inbound")[:7] == [
        *("base", "cors", "ip-filter", "ip-filter", "choose", "rate-limit-by-key", "cache-lookup")
    ]
    assert names(policy(JWT), "inbound")[:4] == ["base", "validate-jwt", "choose", "quota-by-key"]
    assert names(policy(MOVED), "inbound")[:3] == ["base", "ip-filter", "return-response"]
    actions = [element.get("action") for element in policy(FULL).iter("ip-filter")]
    assert actions == ["forbid", "allow"], "what is denied is denied whatever is allowed"


def test_ranges_have_both_ends() -> None:
    [both] = [{**element.attrib} for element in policy(FULL).iter("address-range")]
    assert both == {"from": "10.0.0.0", "to": "10.255.255.255"}
    assert [element.text for element in policy(FULL).iter("address")] == ["10.0.0.7", "192.0.2.7"]


@pytest.mark.parametrize(
    ("limit", "tag", "period"),
    [("second", "rate-limit-by-key", "1"), ("minute", "rate-limit-by-key", "60"), ("day", "quota-by-key", "86400")],
)
def test_a_long_limit_is_a_quota_that_answers_429(limit: Any, tag: str, period: str) -> None:
    root = policy(RouteSettings(path="/a", limit=LimitSettings(3, limit)))
    [found] = root.iter(tag)
    assert (found.get("calls"), found.get("renewal-period")) == ("3", period)
    assert ("choose" in names(root, "on-error")) is (tag == "quota-by-key")


def test_counters_of_two_routes_are_two() -> None:
    route = RouteSettings(path="/a", limit=LimitSettings(3, "second", "route"))
    service = Service("api", Path("x"), ServiceSettings(kind="k", port=1, routes=(route, route)))
    found = {render_policy(EngineRoute(service, number, route)) for number in (0, 1)}
    assert len(found) == 2


def test_nobody_says_who_calls_but_the_gateway() -> None:
    removed = [each.get("name") for each in policy(KEYS, hidden=("x-user",)).iter("set-header") if not len(each)]
    assert {"x-consumer", "x_consumer", "x-user", "x_user", "x-api-key"} <= {*removed}
    order = [(element.get("name"), element.get("exists-action")) for element in policy(KEYS).iter("set-header")]
    assert order.index(("x-consumer", "delete")) < order.index(("X-Consumer", "override"))


def test_a_service_in_maintenance_is_not_called() -> None:
    root = policy(FULL, is_down=True)
    found = root.find("inbound/return-response/set-status")
    assert found is not None and found.get("code") == "503"


def test_a_repeated_request_can_be_done_twice() -> None:
    [retry] = policy(FULL).iter("retry")
    assert "Contains(context.Request.Method)" in str(retry.get("condition"))
    [retry] = policy(RouteSettings(path="/", retries=RetrySettings(1, ("502", "504"), any_method=True))).iter("retry")
    assert retry.get("condition") == (
        "@(context.Response != null && (context.Response.StatusCode == 502 || context.Response.StatusCode == 504))"
    )


TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40)
HOSTILE = st.sampled_from(
    ["@(1)", "@{", "{{x}}", '")', "\\", '"', "<a/>", "]]>", "&quot;", "\\u0022", "${", "@ (", "*/"]
)
MIXED = st.lists(st.one_of(TEXT, HOSTILE), min_size=1, max_size=4).map("".join)


def said_by(expression: str) -> str:
    """Return what an expression that is a text alone says, as C# reads it."""
    found = re.fullmatch(r'@\("((?:[A-Za-z0-9 ._/:-]|\\u[0-9a-f]{4})*)"\)', expression)
    assert found, expression
    codes = re.sub(r"\\u([0-9a-f]{4})", lambda code: chr(int(code[1], 16)), found[1])
    return codes.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@given(st.one_of(MIXED, st.text(max_size=30)))
def test_a_text_is_no_expression_and_no_named_value(text: str) -> None:
    written = literal(text)
    if written == text:
        assert not set(text) & set("@{}")
    else:
        assert said_by(written) == text
    assert said_by(f"@({quote(text)})") == text


@given(value=MIXED, claim=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30))
def test_what_a_toml_file_says_stays_a_text_wherever_it_stands(value: str, claim: str) -> None:
    route = RouteSettings(
        path="/a",
        limit=LimitSettings(1, "second", f"claim:{claim}"),
        request_headers=HeaderSettings({"X-A": value}),
        response_headers=HeaderSettings({"X-B": value}),
        auth=AuthSettings(jwt=JwtSettings("i", ("a",), jwks=JWKS, headers={claim: "X-C"})),
    )
    plain = RouteSettings(
        path="/a",
        limit=LimitSettings(1, "second", "claim:plain"),
        request_headers=HeaderSettings({"X-A": "plain"}),
        response_headers=HeaderSettings({"X-B": "plain"}),
        auth=AuthSettings(jwt=JwtSettings("i", ("a",), jwks=JWKS, headers={"plain": "X-C"})),
    )
    root, other = policy(route), policy(plain)
    assert [element.tag for element in root.iter()] == [element.tag for element in other.iter()]
    for found, usual in zip(texts(root), texts(other), strict=True):
        if found == usual:
            continue
        if found == value.strip() or found == value:
            assert not set(found) & set("@{}")
        elif usual == "plain":
            assert said_by(found) == value
        else:
            assert found == usual.replace('"plain"', quote(claim))
        assert "{{" not in found


def one(route: str, more: str = "") -> str:
    return f'{SERVICE}[[routes]]\npath = "/api"\n{route}\n{more}'


@pytest.mark.parametrize(
    ("rules", "key"),
    [
        ("timeout = 3", "timeout"),
        ("timeouts.idle = 241", "timeouts.idle"),
        ("compression = true", "compression"),
        ('host = "b.example"', "host"),
        ('allow = ["2001:db8::/32"]', "allow"),
        ('deny = ["2001:db8::1"]', "deny"),
        ('limit = { requests = 1, per = "day", burst = 9 }', "limit.burst"),
        ("retries = 1", "retries"),
        ('retries = { on = ["connect", "503"] }', "retries"),
        ('cors = { origins = ["https://*.example.com"] }', "cors.origins"),
        ("auth.basic = true", "auth.basic"),
        ('auth.external = "http://a/check"', "auth.external"),
        ('auth.jwt = { issuer = "i", audiences = ["a"], url = "https://a.example/k" }', "auth.jwt.url"),
        ('auth.jwt = { issuer = "@(1)", audiences = ["a"], jwks = "keys.json" }', "auth.jwt.issuer"),
        ('auth.jwt = { issuer = "i", audiences = ["{{a}}"], jwks = "keys.json" }', "auth.jwt.audiences"),
        (
            'auth.jwt = { issuer = "i", audiences = ["a"], claims = { r = "@{" }, jwks = "keys.json" }',
            "auth.jwt.claims",
        ),
        ('auth.jwt = { issuer = "i", audiences = ["a"], jwks = "curve.json" }', "auth.jwt.jwks"),
        ('auth.jwt = { issuer = "i", audiences = ["a"], jwks = "odd.json" }', "auth.jwt.jwks"),
    ],
)
def test_what_azure_has_no_word_for_is_refused_by_file_line_key_and_engine(
    tmp_path: Path, rules: str, key: str
) -> None:
    folder = tmp_path / "services" / "api"
    folder.mkdir(parents=True)
    (folder / "keys.json").write_text(JWKS)
    (folder / "curve.json").write_text(json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}]}))
    (folder / "odd.json").write_text(json.dumps({"keys": [{**KEY, "kid": '"@(1)'}]}))
    found = load(tmp_path, one(rules))
    with pytest.raises(
        ConfigError, match=rf"services/api/service.toml:5: `{re.escape(key)}` cannot be had with {AZURE}: "
    ) as caught:
        check_engine(engine_routes(found.services), azure_refusals, AZURE, found.root)
    assert caught.value.remedy
    rows = engines.list_engine_routes(found.services, STACK, "azure")
    assert [refused["key"] for row in rows for refused in row["refused"]] == [key]
    with pytest.raises(ConfigError, match="azure reads no file"):
        engines.render_for_kong(found, found.services, STACK, "azure")


def test_a_method_that_would_go_to_a_shorter_route_is_refused(tmp_path: Path) -> None:
    found = load(tmp_path, one('methods = ["GET"]'))
    with pytest.raises(
        ConfigError, match=r"api/service.toml:5: `methods` .*its other methods would not go to / of web"
    ):
        check_azure_paths(engine_routes(found.services), found.root)
    both = load(tmp_path, one('methods = ["GET"]'), f'{SERVICE}[[routes]]\npath = "/"\nmethods = ["GET"]\n')
    check_azure_paths(engine_routes(both.services), both.root)


def test_one_path_is_for_the_same_consumers(tmp_path: Path) -> None:
    second = '[[routes]]\npath = "/api"\nmethods = ["POST"]\nauth.keys = { consumers = ["bank"] }\n'
    web = f'{SERVICE}[[routes]]\npath = "/web"\n'
    found = load(tmp_path, one('methods = ["GET"]\nauth.keys = { consumers = ["shop"] }', second), web)
    with pytest.raises(ConfigError, match="for the same consumers' keys"):
        check_azure_paths(engine_routes(found.services), found.root)
