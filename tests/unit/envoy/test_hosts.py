"""Hosts, on the real Envoy: each has the routes that are for it, however its name is written."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.e2e.upstream import upstream
from tests.gateway_process import GatewayProcess, gateway_process

from slipway._internal.commands.envoy import GatewayOptions, Route
from slipway._internal.insight.requests import find_fate
from slipway._internal.model.routes import HeaderSettings, RouteSettings
from slipway._internal.model.workspace import Service, ServiceSettings

RULES = {
    "web": RouteSettings(path="/"),
    "api": RouteSettings(path="/", host="api.example.com"),
    "any": RouteSettings(path="/x", host="*.example.com"),
}
SERVICES = [
    Service(name, Path(name), ServiceSettings(kind="k", port=80, routes=(each,))) for name, each in RULES.items()
]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with upstream() as service:
        yield service.port


def table(port: int) -> list[Route]:
    """Return the routes; each tells its name by a header that the service gets."""
    return [
        Route(
            name,
            rules.path,
            f"127.0.0.1:{port}",
            rules=msgspec.structs.replace(rules, request_headers=HeaderSettings({"X-Route": name})),
        )
        for name, rules in RULES.items()
    ]


@pytest.fixture(scope="module")
def gateway(port: int) -> Iterator[GatewayProcess]:
    with gateway_process(table(port), GatewayOptions(hosts=("shop.example.com",))) as found:
        yield found


def asked(gateway: GatewayProcess, path: str, host: str) -> str:
    """Return the route that a request met, or the status of the gateway's own answer."""
    status, _, body = gateway.ask(path, host)
    if status != 200 or path.startswith("/.slipway"):
        return str(status)
    headers = {name.lower(): value for name, value in json.loads(body)["headers"]}
    assert headers["host"] == headers["x-forwarded-host"] == host  # passed on as it came
    return headers["x-route"]


@pytest.mark.parametrize(
    ("host", "path", "met"),
    [
        ("shop.example.com", "/a", "web"),
        ("shop.example.com:8080", "/a", "web"),
        ("SHOP.Example.com", "/a", "web"),
        ("shop.example.com.", "/a", "web"),
        ("Shop.example.com.:80", "/a", "web"),
        ("gateway:8080", "/a", "web"),
        ("gateway", "/a", "web"),
        ("api.example.com", "/a", "api"),
        ("API.example.com.:9", "/x", "api"),
        ("b.example.com", "/x", "any"),
        ("a.b.example.com", "/x/y", "any"),
        ("b.example.com", "/a", "404"),
        ("example.com", "/x", "404"),
        ("other.example", "/a", "404"),
        ("xshop.example.com", "/a", "404"),
        ("127.0.0.1", "/a", "404"),
        ("other.example", "/.slipway/health", "200"),
        ("api.example.com", "/.slipway/health", "200"),
    ],
)
def test_each_host_has_its_own_routes_and_the_command_says_the_same(
    gateway: GatewayProcess, host: str, path: str, met: str
) -> None:
    assert asked(gateway, path, host) == met
    if not host.startswith("gateway"):
        fate = find_fate(SERVICES, f"http://{host}{path}", stack_hosts=["shop.example.com"])
        assert (fate.service or str(fate.status)) == met


def test_a_host_that_nothing_is_for_is_told_so(gateway: GatewayProcess) -> None:
    _, headers, body = gateway.ask("/a", "other.example")
    assert (headers["content-type"], json.loads(body)) == ("application/json", {"error": "no service has this host"})


@pytest.mark.parametrize(
    "start", ["GET http://api.example.com/a HTTP/1.1\r\nHost: shop.example.com", "GET /a HTTP/1.0"]
)
def test_no_request_is_for_two_hosts(gateway: GatewayProcess, start: str) -> None:
    with socket.create_connection(("127.0.0.1", gateway.ports["http"]), timeout=20) as talk:
        talk.sendall(f"{start}\r\nConnection: close\r\n\r\n".encode())
        reply = b"".join(iter(lambda: talk.recv(65536), b""))
    if "1.0" in start:
        assert b"404" in reply.splitlines()[0]
    else:  # what the request line names counts, and is what the service gets
        assert b'["x-route", "api"]' in reply and b'"shop.example.com"' not in reply


def test_without_a_stacks_host_routes_without_one_are_for_all_others(port: int) -> None:
    with gateway_process(table(port)) as gateway:
        assert [asked(gateway, "/a", host) for host in ("any.thing", "127.0.0.1", "api.example.com")] == [
            "web",
            "web",
            "api",
        ]
        gateway.switch(table(port), GatewayOptions(hosts=("shop.example.com",)))
        assert asked(gateway, "/a", "any.thing") == "404"
