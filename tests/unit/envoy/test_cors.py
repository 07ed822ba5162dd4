"""Calls by pages of other origins, on the real Envoy."""

from __future__ import annotations

from typing import Any

import pytest
from tests.running_envoy import Answer, RunningEnvoy

from slipway._internal.commands.envoy import Route
from slipway._internal.model.route_rules import CorsSettings, LimitSettings
from slipway._internal.model.routes import RouteSettings

APP = "https://app.example.com"


def serve(gateway: RunningEnvoy, cors: CorsSettings, **more: Any) -> None:
    rules = RouteSettings(path="/a", cors=cors, **more)
    gateway.serve([Route("a", "/a", gateway.upstream, rules=rules), Route("b", "/", gateway.upstream)])


def preflight(gateway: RunningEnvoy, origin: str = APP, method: str = "PUT", path: str = "/a/x") -> Answer:
    return gateway.ask(path, "OPTIONS", Origin=origin, Access__Control__Request__Method=method)


def cors_headers(answer: Answer) -> dict[str, str]:
    start = "access-control-"
    return {name.removeprefix(start): value for name, value in answer.headers.items() if name.startswith(start)}


def test_the_gateway_answers_a_browser_that_asks(gateway: RunningEnvoy) -> None:
    cors = CorsSettings((APP,), ("GET", "PUT"), ("X-Token",), ("X-Total",), credentials=True, max_age=60)
    serve(gateway, cors)
    found = preflight(gateway)
    assert (found.status, found.body) == (200, b"")
    assert cors_headers(found) == {
        "allow-origin": APP,
        "allow-methods": "GET, PUT",
        "allow-headers": "X-Token",
        "allow-credentials": "true",
        "expose-headers": "X-Total",
        "max-age": "60",
    }
    answer = gateway.ask("/a", Origin=APP)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-expose-headers"] == "X-Total"
    assert gateway.ask("/a").status == 200  # who names no origin is asked for none
    assert "access-control-allow-origin" not in gateway.ask("/b", Origin=APP).headers


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((APP,), "https://app.example.com:8443", False),
        ((APP,), "http://app.example.com", False),
        ((APP,), "https://app.example.com.evil.example", False),
        ((APP,), "null", False),
        (("https://*.example.com",), APP, True),
        (("https://*.example.com",), "https://a.b.example.com", False),
        (("https://*.example.com",), "https://example.com", False),
        (("https://*.example.com",), "https://appxexample.com", False),
        (("https://*.example.com",), "https://app.example.com.evil.example", False),
        (("https://*.example.com",), "https://evil.example/https://app.example.com", False),
        (("https://a.example", "http://localhost:3000"), "http://localhost:3000", True),
        (("*",), "https://anything.example", True),
    ],
)
def test_only_named_origins_are_told_that_they_may(
    gateway: RunningEnvoy, origins: tuple[str, ...], origin: str, allowed: bool
) -> None:
    serve(gateway, CorsSettings(origins))
    asked = preflight(gateway, origin)
    assert ("access-control-allow-origin" in asked.headers) is allowed
    assert asked.body == b""  # the service is not asked either way
    assert ("access-control-allow-origin" in gateway.ask("/a", Origin=origin).headers) is allowed


def test_a_question_needs_no_method_of_the_route_and_no_token_of_its_limit(gateway: RunningEnvoy) -> None:
    serve(gateway, CorsSettings((APP,)), methods=("GET", "PUT"), limit=LimitSettings(1, "day"))
    for _ in range(3):
        assert preflight(gateway).headers["access-control-allow-methods"] == "GET, PUT"
    assert gateway.ask("/a", Origin=APP).status == 200
    refused = gateway.ask("/a", Origin=APP)
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (429, APP)  # so the page can read it
    assert gateway.ask("/a", "OPTIONS").json["line"].startswith("OPTIONS /a ")


def test_two_routes_of_a_path_answer_each_for_its_own_methods(gateway: RunningEnvoy) -> None:
    reads = RouteSettings(path="/a", methods=("GET",), cors=CorsSettings(("*",)))
    writes = RouteSettings(path="/a", methods=("PUT",), cors=CorsSettings((APP,)))
    gateway.serve([Route(name, "/a", gateway.upstream, rules=rules) for name, rules in (("r", reads), ("w", writes))])
    assert preflight(gateway, "https://other.example", "GET").headers["access-control-allow-methods"] == "GET"
    assert "access-control-allow-origin" not in preflight(gateway, "https://other.example", "PUT").headers
    assert preflight(gateway, APP, "PUT").headers["access-control-allow-methods"] == "PUT"
