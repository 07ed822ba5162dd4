"""Maintenance, on the real Envoy: at once, in the form that the caller asks for, and nothing else is changed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import msgspec
import pytest
from tests.e2e.upstream import upstream
from tests.gateway_process import GatewayProcess, gateway_process

from slipway._internal.commands.envoy import GatewayOptions, Route, parse_config
from slipway._internal.commands.envoy_maintenance import MAX_PAGE_BYTES
from slipway._internal.commands.gateway_options import MaintenanceOptions
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.model.routes import RedirectSettings, RouteSettings

OFF = GatewayOptions(hosts=("shop.example.com",))
PAGE = "<h1>Back at 100 % soon: %REQ(x)% {{}}</h1>" + "x" * (MAX_PAGE_BYTES - 100)


def on(*services: str, page: str = "", retry_after: int = 300) -> GatewayOptions:
    return msgspec.structs.replace(
        OFF, maintenance=MaintenanceOptions(services=services, page=page, retry_after=retry_after)
    )


@pytest.fixture(scope="module")
def routes() -> Iterator[list[Route]]:
    with upstream() as service:
        at = f"127.0.0.1:{service.port}"
        moved = RouteSettings(path="/old", redirect=RedirectSettings(path="/new"))
        reads = RouteSettings(path="/reads", methods=("GET",))
        other = RouteSettings(path="/", host="api.example.com")
        yield [
            Route("web", "/", at),
            Route("api", "/api", at, RequestLimits("1k")),
            Route("api", "/old", at, rules=moved),
            Route("api", "/reads", at, rules=reads),
            Route("api", "/", at, rules=other),
            Route("gone", "/gone", "127.0.0.1:9"),
        ]


@pytest.fixture(scope="module")
def gateway(routes: list[Route]) -> Iterator[GatewayProcess]:
    with gateway_process(routes, OFF) as found:
        yield found


def status(gateway: GatewayProcess, path: str, host: str = "shop.example.com", method: str = "GET") -> int:
    return gateway.ask(path, host, method)[0]


def test_all_is_answered_by_the_gateway_and_its_health_stays(gateway: GatewayProcess, routes: list[Route]) -> None:
    gateway.switch(routes, on(retry_after=120))
    for host, path in (
        ("shop.example.com", "/a"),
        ("api.example.com", "/"),
        ("gateway", "/api"),
        ("shop.example.com", "/old"),
    ):
        found, headers, body = gateway.ask(path, host, "POST")
        assert (found, json.loads(body)) == (503, {"error": "down for maintenance", "status": 503})
        assert (headers["content-type"], headers["retry-after"]) == ("application/json", "120")
        assert headers["cache-control"] == "no-store"
    assert status(gateway, "/.slipway/health") == 200
    assert status(gateway, "/.slipway/health", "other.example") == 200
    assert status(gateway, "/a", "other.example") == 404
    gateway.switch(routes, OFF)
    assert status(gateway, "/a") == 200


def test_browsers_get_a_page_the_workspaces_own_if_it_has_one(gateway: GatewayProcess, routes: list[Route]) -> None:
    accept = {"Accept": "application/xhtml+xml,TEXT/html;q=0.9"}
    gateway.switch(routes, on())
    _, headers, body = gateway.ask("/a", "shop.example.com", headers=accept)
    assert headers["content-type"] == "text/html; charset=utf-8" and b"<h1>Down for maintenance</h1>" in body
    gateway.switch(routes, on(page=PAGE))
    found, headers, body = gateway.ask("/a", "shop.example.com", headers=accept)
    assert (found, headers["retry-after"], body.decode()) == (503, "300", PAGE)
    assert parse_config(gateway.files).options == on(page=PAGE)


def test_one_service_is_down_and_the_others_serve(gateway: GatewayProcess, routes: list[Route]) -> None:
    gateway.switch(routes, on("api"))
    assert [status(gateway, path) for path in ("/api", "/api/x", "/old", "/reads", "/a", "/gone")] == [
        *(503, 503, 503, 503),
        *(200, 502),
    ]
    assert status(gateway, "/reads", method="PUT") == 200  # which is the web's
    assert status(gateway, "/x", "api.example.com") == 503
    assert status(gateway, "/api%2Fx") == status(gateway, "//api") == 400
    gateway.switch(routes, on("api", "web"))
    assert status(gateway, "/a") == status(gateway, "/api") == 503


def test_what_envoy_itself_says_of_a_service_that_is_down_is_as_ever(
    gateway: GatewayProcess, routes: list[Route]
) -> None:
    gateway.switch(routes, on("api"))
    found, headers, body = gateway.ask("/gone", "shop.example.com")
    assert (found, json.loads(body)["service"]) == (502, "gone")
    assert "retry-after" not in headers


def test_requests_under_way_end_where_they_are(gateway: GatewayProcess, routes: list[Route]) -> None:
    gateway.switch(routes, OFF)
    found: list[int] = []
    end = threading.Event()

    def work() -> None:
        while not end.is_set():
            found.append(status(gateway, "/a"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for options in (on(), OFF, on("web"), OFF):
            gateway.switch(routes, options)
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert set(found) <= {200, 503} and 200 in found
    assert "503" in gateway.log
