"""What `invoke routes` says of rules, and `--test` of a request that meets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway._internal.insight.requests import RequestFacts, find_fate, list_routes
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.request_limits import Timeouts
from slipway._internal.model.route_rules import CorsSettings, LimitSettings, RetrySettings, ServiceGatewaySettings
from slipway._internal.model.routes import RedirectSettings, RouteSettings
from slipway._internal.model.workspace import Service, ServiceSettings

APP = "https://app.example.com"
ROUTES = (
    RouteSettings(
        path="/api",
        methods=("GET", "POST"),
        limit=LimitSettings(10, "second", burst=20),
        allow=("10.0.0.0/8", "2001:db8::/32"),
        deny=("10.0.0.7",),
        cors=CorsSettings((APP,)),
        retries=RetrySettings(2, ("connect", "503"), any_method=True),
        compression=True,
        websockets=False,
        body="1k",
        timeouts=Timeouts(idle=9),
    ),
    RouteSettings(path="/old", redirect=RedirectSettings(path="/new")),
    RouteSettings(path="/free", limit="off", retries=0),
)
DEFAULTS = ServiceGatewaySettings(limit=LimitSettings(1, "day", by="route"))
SERVICES = [Service("api", Path("api"), ServiceSettings(kind="k", port=80, routes=ROUTES), DEFAULTS)]


def test_every_rule_is_shown_in_words() -> None:
    rows = {row.route.path: row for row in list_routes(SERVICES)}
    assert rows["/api"].cells[-1] == (
        "only from 10.0.0.0/8, 2001:db8::/32, not from 10.0.0.7, for pages of https://app.example.com, "
        "10 requests a second for an address, 20 at once; else 429, bodies up to 1k, at most 9 s without a byte, "
        "repeated 2 times on connect, 503, any method, compressed, no change of protocol"
    )
    assert rows["/old"].cells[-1] == "1 request a day for all together, 1 at once; else 429"
    assert rows["/free"].cells[-1] == "never repeated"
    assert rows["/old"].as_dict()["limit"] == {"requests": 1, "per": "day", "by": "route"}
    assert rows["/api"].as_dict()["body"] == "1k"


MATCHED = "GET /api: api by its route /api\n"


@pytest.mark.parametrize(
    ("method", "headers", "source", "said"),
    [
        ("GET", [], "10.0.0.8", MATCHED + f"  for pages of {APP}\n  10 requests a second for 10.0.0.8, 20 at once"),
        ("GET", [], "2001:db8::1", MATCHED + f"  for pages of {APP}\n  10 requests a second for 2001:db8::/64, "),
        ("GET", [f"Origin: {APP}"], "10.1.1.1", MATCHED + f"  a page of {APP} may read the answer"),
        ("GET", ["origin: http://x"], "10.1.1.1", MATCHED + "  a page of http://x may not read the answer"),
        ("GET", [], "", MATCHED + "  only from 10.0.0.0/8, 2001:db8::/32\n  not from 10.0.0.7"),
        ("GET", [], "10.0.0.7", "answers 403 by the route /api of api, its rules take nothing from 10.0.0.7"),
        ("GET", [], "192.0.2.1", "answers 403"),
        ("POST", ["Content-Length: 1024"], "10.1.1.1", "POST /api: api by its route"),
        ("POST", ["Content-Length: 1025"], "10.1.1.1", "answers 413 by the route /api of api, a body may have 1k"),
        ("POST", ["Content-Length: 1025"], "10.0.0.7", "answers 403"),
        (
            "GET",
            ["Upgrade: WebSocket", "Connection: keep-alive, Upgrade"],
            "",
            "answers 403 by the route /api of api, its",
        ),
        ("GET", ["Upgrade: websocket"], "", MATCHED),
        (
            "OPTIONS",
            [f"Origin: {APP}", "Access-Control-Request-Method: POST"],
            "",
            f"answers 200 by the route /api of api, a browser's question: a page of {APP} may call it",
        ),
        (
            "OPTIONS",
            ["Origin: http://x", "Access-Control-Request-Method: GET"],
            "",
            "a page of http://x may not call it",
        ),
        ("OPTIONS", ["Origin: http://x", "Access-Control-Request-Method: GET"], "10.0.0.7", "answers 403"),
        ("OPTIONS", [f"Origin: {APP}", "Access-Control-Request-Method: PUT"], "", "answers 404"),
        ("OPTIONS", [], "", "answers 404"),
    ],
)
def test_what_rules_do_with_a_request_is_said(method: str, headers: list[str], source: str, said: str) -> None:
    fate = find_fate(SERVICES, "/api", method, facts=RequestFacts.of(headers, source))
    assert said in fate.describe()
    assert fate.as_dict()["status"] == fate.status


def test_a_redirect_is_nobodys_whose_address_is_denied() -> None:
    denied = [Service("api", Path("api"), SERVICES[0].settings, ServiceGatewaySettings(deny=("::/0",)))]
    assert find_fate(denied, "/old", facts=RequestFacts.of([], "::1")).status == 403
    assert find_fate(denied, "/old", facts=RequestFacts.of([], "10.1.1.1")).status == 302
    assert find_fate(denied, "/free//x", facts=RequestFacts.of([], "::1")).status == 403


@pytest.mark.parametrize(
    "words", [(["no header"], ""), ([": x"], ""), (["A: b\r\nC: d"], ""), ([], "host"), ([], "1.2.3")]
)
def test_what_is_no_header_and_no_address_is_refused(words: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        RequestFacts.of(*words)
    assert caught.value.remedy
