"""What `invoke routes --test` says of a request is what the gateway does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.commands.test_envoy import chosen

from slipway._internal.commands.envoy import Route
from slipway._internal.insight import requests
from slipway._internal.insight.requests import find_fate, list_routes, normalize_path
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.routes import HeaderSettings, RedirectSettings, RouteSettings
from slipway._internal.model.workspace import Service, ServiceSettings

ROUTES = {
    "api": (
        RouteSettings(
            path="/api", strip=True, timeout=9, request_headers=HeaderSettings({"X-Tier": "gold"}, ("Cookie",))
        ),
    ),
    "deep": (RouteSettings(path="/api/deep", methods=("GET", "HEAD"), rewrite="/v2"),),
    "old": (
        RouteSettings(path="/old", redirect=RedirectSettings(path="/new", status=301)),
        RouteSettings(path="/away", redirect=RedirectSettings(scheme="https", host="www.example")),
    ),
    "web": (RouteSettings(path="/", methods=("GET", "POST")),),
}
SERVICES = [Service(name, Path(name), ServiceSettings(kind="k", port=80, routes=each)) for name, each in ROUTES.items()]
RENDERED = [Route(name, rules.path, f"{name}:80", rules=rules) for name, each in ROUTES.items() for rules in each]


@pytest.mark.parametrize(
    ("url", "method", "said"),
    [
        (
            "/api/items?x=1",
            "GET",
            "GET /api/items?x=1: api by its route /api\n  it gets GET /items?x=1\n  X-Forwarded-Prefix: /api\n"
            "  X-Tier: gold\n  without Cookie\n  at most 9 s",
        ),
        ("https://shop.example/api", "POST", "POST /api: api by its route /api\n  it gets POST /"),
        ("/api/deep/x", "GET", "GET /api/deep/x: deep by its route /api/deep\n  it gets GET /v2/x"),
        ("/api/deep/x", "POST", "POST /api/deep/x: api by its route /api\n  it gets POST /deep/x"),
        ("/x/../api", "GET", "GET /api: api by its route /api\n  it gets GET /"),
        ("http://shop.example", "GET", "GET /: web by its route /"),
        ("http://shop.example?a=b", "GET", "GET /?a=b: web by its route /"),
        ("/other", "PUT", "PUT /other: the gateway answers 404, no service has this route"),
        ("/old/a?b=c", "GET", "GET /old/a?b=c: the gateway answers 301 by the route /old of old, to /new/a?b=c"),
        ("/away", "GET", "GET /away: the gateway answers 302 by the route /away of old, to https://www.example/away"),
        ("/api//evil.example", "GET", "GET /api//evil.example: the gateway answers 400 by the route /api of api"),
        ("/api%2fitems", "GET", "GET /api%2fitems: the gateway answers 400 by the route /api of api, a service could"),
        ("/x/..%2fapi", "GET", "GET /x/..%2fapi: the gateway answers 400, a service could"),
        ("/.slipway/health", "GET", "GET /.slipway/health: the gateway answers 200, the gateway's own health"),
        ("/.slipway/x", "GET", "GET /.slipway/x: the gateway answers 404, below this path"),
    ],
)
def test_what_becomes_of_a_request_is_said(url: str, method: str, said: str) -> None:
    fate = find_fate(SERVICES, url, method)
    assert fate.describe().startswith(said)
    json.dumps(fate.as_dict())


@pytest.mark.parametrize(
    ("url", "method"), [("api", "GET"), ("", "GET"), ("a b://x", "GET"), ("/x", "BREW"), ("/a b", "GET")]
)
def test_what_is_no_request_is_refused(url: str, method: str) -> None:
    with pytest.raises(ConfigError):
        find_fate(SERVICES, url, method)


PARTS = st.sampled_from(
    [
        "api",
        "deep",
        "old",
        "away",
        "",
        "x",
        "..",
        "%2e%2e",
        "..%2f",
        "%2f",
        "apis",
        ".slipway",
        "health",
        "%61pi",
        "a%20b",
        "%5c",
    ]
)


@given(
    st.lists(PARTS, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts)),
    st.sampled_from(["GET", "POST", "PUT"]),
)
def test_it_chooses_as_the_gateways_table_does(path: str, method: str) -> None:
    """Envoy normalises a path before it looks into its table; that part is held by a test on the real one."""
    fate = find_fate(SERVICES, path, method)
    entry = chosen(RENDERED, normalize_path(path), method)
    assert entry == (f"{fate.service}_80" if not fate.status else str(fate.status))


def test_routes_are_listed_as_they_are_tried() -> None:
    rows = [dict(zip(requests.COLUMNS, row.cells, strict=True)) for row in list_routes(SERVICES)]
    assert [row["route"] for row in rows] == ["/api/deep", "/away", "/api", "/old", "/"]
    assert rows[0] == {
        "route": "/api/deep",
        "methods": "GET HEAD",
        "service": "deep",
        "it gets": "/v2",
        "changes": "none",
    }
    assert rows[1]["it gets"] == "302 to https://www.example"
    assert rows[2]["changes"] == "X-Forwarded-Prefix: /api, X-Tier: gold, without Cookie, at most 9 s"
    found = cast(dict[str, Any], list_routes(SERVICES)[3].as_dict())
    assert found == {"service": "old", "path": "/old", "redirect": {"path": "/new", "status": 301}}


def test_over_http_a_gateway_with_a_certificate_only_says_where_https_is() -> None:
    hosts = ["shop.example"]
    for asked, port, there in (("shop.example", 443, "shop.example"), ("shop.example:80", 8443, "shop.example:8443")):
        said = find_fate(SERVICES, f"http://{asked}/api?x=1", stack_hosts=hosts, tls_port=port)
        assert said.describe() == f"GET {asked}/api?x=1: the gateway answers 308, to https://{there}/api?x=1"
    for url in ("https://shop.example/api", "/api"):
        assert find_fate(SERVICES, url, stack_hosts=hosts, tls_port=443).service == "api"
    assert find_fate(SERVICES, "http://shop.example/.slipway/health", tls_port=443).status == 200
    assert find_fate(SERVICES, "http://other.example/", stack_hosts=hosts).why == "no service has this host"
