"""What `invoke routes --test` says of rules is what the real Envoy does; and Envoy takes whatever passes the checks."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.running_envoy import ANYWHERE, RunningEnvoy, validate

from slipway._internal.commands.envoy import Route, parse_config, render_config
from slipway._internal.insight.requests import RequestFacts, find_fate, list_routes
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.model.route_rules import (
    METHODS,
    CorsSettings,
    LimitSettings,
    RetrySettings,
    ServiceGatewaySettings,
)
from slipway._internal.model.routes import RedirectSettings, RouteSettings, check_routes
from slipway._internal.model.workspace import Service, ServiceSettings

APP = "https://app.example.com"
MANY = LimitSettings(1_000_000, "second")
ROUTES = (
    RouteSettings(path="/open", limit="off"),
    RouteSettings(path="/own", allow=("127.0.0.1", "::1"), strip=True, limit=MANY),
    RouteSettings(path="/not", deny=("127.0.0.2/31",), methods=("GET", "POST"), cors=CorsSettings((APP,))),
    RouteSettings(path="/not", methods=("PUT",), cors=CorsSettings(("*",))),
    RouteSettings(path="/small", body="1k", websockets=False, cors=CorsSettings(("https://*.example.com",))),
    RouteSettings(path="/small/er", body="10m", compression=True, retries=0),
    RouteSettings(path="/old", redirect=RedirectSettings(path="/new"), deny=(ANYWHERE,)),
)
DEFAULTS = ServiceGatewaySettings(limit=MANY, body="2k")
SERVICE = Service("all", Path(), ServiceSettings(kind="k", port=80, routes=ROUTES), DEFAULTS)

HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"Origin": APP, "Access-Control-Request-Method": "GET"},
    {"Origin": "https://x.example", "Access-Control-Request-Method": "PUT"},
    {"Origin": APP, "Access-Control-Request-Method": ""},
    {"Upgrade": "websocket", "Connection": "Upgrade"},
    {"Origin": APP},
)
PATHS = (
    "/open/x",
    "/own/x",
    "/own//x",
    "/not",
    "/not/x",
    "/small/x",
    "/small/er/x",
    "/old/x",
    "/%6fwn",
    "/own%2Fx",
    "/y",
)


@pytest.fixture(scope="module")
def served(gateway: RunningEnvoy) -> RunningEnvoy:
    rows = list_routes([SERVICE])
    gateway.serve([Route("all", row.route.path, gateway.upstream, row.limits, rules=row.route) for row in rows])
    return gateway


@pytest.mark.parametrize("path", PATHS)
def test_a_request_meets_the_rules_that_the_product_says_it_meets(served: RunningEnvoy, path: str) -> None:
    for method, headers, source, size in product(
        ("GET", "OPTIONS", "POST", "PUT"), HEADERS, ("127.0.0.1", ANYWHERE), (0, 1500, 2500)
    ):
        if "Upgrade" in headers and (size or method != "GET"):  # what follows is another protocol's, not a body
            continue
        sized = {**headers, **({"Content-Length": f"{size}"} if size else {})}
        facts = RequestFacts.of([f"{name}: {value}" for name, value in sized.items()], source)
        fate = find_fate([SERVICE], path, method, facts=facts)
        answer = served.ask(path, method, b"x" * size or None, source=source, **headers)
        told = (method, path, sized, source, fate, answer)
        assert answer.status == (fate.status or 200), told
        if not fate.status and "Upgrade" not in headers:
            assert answer.json["line"] == f"{method} {fate.sent_path} HTTP/1.1", told
        if "browser's question" in fate.why:
            assert ("may call" in fate.why) is ("access-control-allow-origin" in answer.headers), told


NAMES = st.sampled_from(["a", "x-y:80", "app.example.com", "*.b.c", "*.b.c:443", "a-b.c", "[::1]", "*"])
TOKENS = st.sampled_from(["X-A", "*", "x_y", "Authorization", "a.b", "!#$%&'*+.^_`|~-", "%REQ(x)%", "a\nb"])
NETWORKS = (
    st.ip_addresses().map(str)
    | st.sampled_from(["0.0.0.0/0", "::/0", "10.0.0.0/8", "2001:db8::/33", "1.2.3.4/32", "::ffff:0:0/96", "::1.2.3.4"])
    | st.text("0123456789abcdef.:/%", min_size=7, max_size=20)
)
LIMITS = st.builds(
    LimitSettings,
    st.integers(1, 1_000_000_000),
    st.sampled_from(["second", "minute", "hour", "day"]),
    st.sampled_from(["address", "route"]),
    st.none() | st.integers(1, 1_000_000_000),
)
CORS = st.builds(
    CorsSettings,
    st.lists(st.just("*") | NAMES.map(lambda name: f"https://{name}"), max_size=3).map(tuple),
    st.lists(st.sampled_from(METHODS), max_size=3).map(tuple),
    st.lists(TOKENS, max_size=2).map(tuple),
    st.lists(TOKENS, max_size=2).map(tuple),
    st.booleans(),
    st.integers(0, 86400),
)
REASONS = st.lists(st.sampled_from(["connect", "reset", "502", "503", "504"]), max_size=5).map(tuple)
RETRIES = st.integers(0, 10) | st.builds(RetrySettings, st.integers(1, 10), REASONS, st.booleans())


def networks() -> Any:
    return st.none() | st.lists(NETWORKS, max_size=3).map(tuple)


RULES = st.builds(
    RouteSettings,
    path=st.text("ab./", max_size=4).map("/{}".format),
    methods=st.lists(st.sampled_from(METHODS), max_size=2, unique=True).map(tuple),
    strip=st.booleans(),
    redirect=st.none() | st.none() | st.just(RedirectSettings(path="/n")),
    timeout=st.none() | st.integers(1, 86400),
    limit=st.none() | LIMITS,
    allow=networks(),
    deny=networks(),
    cors=st.none() | CORS,
    retries=st.none() | RETRIES,
    compression=st.none() | st.booleans(),
    websockets=st.none() | st.booleans(),
)


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(st.lists(RULES, min_size=20, max_size=60), st.sampled_from([RequestLimits(), RequestLimits("1k", 1, 1)]))
def test_envoy_takes_all_rules_that_pass_the_checks(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[RouteSettings], limits: RequestLimits
) -> None:
    good: list[RouteSettings] = []
    for rules in drawn:
        try:
            check_routes([*good, rules], lambda _keys, what, remedy: ConfigError(what, remedy=remedy))
        except ConfigError:
            continue
        good.append(rules)
    assume(len(good) > 3)
    routes = [Route(f"s{number}", rules.path, "h:80", limits, rules=rules) for number, rules in enumerate(good)]
    judged = validate(routes, tmp_path_factory.getbasetemp())
    assert judged.code == 0, judged.output
    assert sorted(map(str, parse_config(render_config(routes))[0])) == sorted(map(str, routes))
