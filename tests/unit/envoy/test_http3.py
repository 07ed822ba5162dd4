"""HTTP/3, on the real Envoy, by a client of its own: what holds over HTTP/2 holds over it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.certificates import Authority, Issued
from tests.e2e.upstream import upstream
from tests.gateway_process import GatewayProcess, gateway_process
from tests.quic import Reply, http3
from tests.unit.envoy.test_tls import SecureConnection, first_of, trusting

from slipway._internal.commands.envoy import GatewayOptions, Route, parse_config, render_config
from slipway._internal.commands.gateway_options import Consumer, TlsOptions
from slipway._internal.model.auth import AuthSettings
from slipway._internal.model.consumer_keys import hash_key, new_key
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.model.route_rules import LimitSettings
from slipway._internal.model.routes import HeaderSettings, RouteSettings

HOST = "shop.example.com"
KEY = new_key()


def options(issued: Issued, key: str = "one.key") -> GatewayOptions:
    tls = TlsOptions(issued.chain, key, 8443)
    return GatewayOptions(hosts=(HOST,), tls=tls, hsts=600, http3=True, consumers={"shop": Consumer((hash_key(KEY),))})


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue(HOST)


@pytest.fixture(scope="module")
def routes() -> Iterator[list[Route]]:
    with upstream() as service:
        at = f"127.0.0.1:{service.port}"
        changed = RouteSettings(path="/", response_headers=HeaderSettings(set={"X-By": "gateway"}))
        yield [
            Route("web", "/", at, rules=changed),
            Route("keys", "/keys", at, rules=RouteSettings(path="/keys", auth=AuthSettings(keys=True))),
            Route("few", "/few", at, rules=RouteSettings(path="/few", limit=LimitSettings(requests=2, per="hour"))),
            Route("small", "/small", at, RequestLimits("1k")),
        ]


@pytest.fixture(scope="module")
def gateway(routes: list[Route], issued: Issued) -> Iterator[GatewayProcess]:
    with gateway_process(routes, options(issued), {"one.key": issued.key}) as found:
        yield found


def ask(gateway: GatewayProcess, ca_file: Path, path: str, host: str = HOST, **more: object) -> Reply:
    async def once() -> Reply:
        async with http3(gateway.ports["https"], HOST, ca_file) as connection:
            return await connection.ask(host, path, **more)

    return run_here(once())


def run_here(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it in a loop of its own: asyncio.run would take away that of the thread, which Pulumi's mocks use."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def test_a_request_is_answered_and_its_headers_are_the_gateways(gateway: GatewayProcess, authority: Authority) -> None:
    forged = {
        "x-forwarded-proto": "http",
        "x-real-ip": "192.0.2.1",
        "x-envoy-original-path": "/x",
        "x-slipway-tls": "1",
    }
    reply = ask(gateway, authority.root, "/a?b=c", headers=forged)
    seen = json.loads(reply.body)
    headers = dict(seen["headers"])
    assert (reply.status, seen["line"], headers["host"]) == (200, "GET /a?b=c HTTP/1.1", HOST)
    assert (headers["x-forwarded-proto"], headers["x-real-ip"]) == ("https", "127.0.0.1")
    assert not [name for name in headers if name.startswith(("x-slipway", "x-envoy"))]
    assert reply.headers["x-by"] == "gateway" and reply.headers["strict-transport-security"] == "max-age=600"
    assert len(headers["x-request-id"]) > 20
    posted = ask(gateway, authority.root, "/a", method="POST", body=b"x" * 100_000)
    assert (posted.status, json.loads(posted.body)["length"]) == (200, 100_000)


def test_clients_are_told_of_it_over_https_alone(gateway: GatewayProcess, authority: Authority) -> None:
    _, headers, _ = SecureConnection(gateway, trusting(authority)).ask("/a")
    assert headers["alt-svc"] == 'h3=":8443"; ma=3600'
    assert "alt-svc" not in gateway.ask("/a", HOST)[1]


def test_who_may_call_and_how_often_holds_over_all_protocols(gateway: GatewayProcess, authority: Authority) -> None:
    assert ask(gateway, authority.root, "/keys").status == 401
    assert ask(gateway, authority.root, "/keys", headers={"x-api-key": "slw_other"}).status == 401
    let_in = ask(gateway, authority.root, "/keys", headers={"x-api-key": KEY})
    assert (let_in.status, dict(json.loads(let_in.body)["headers"])["x-consumer"]) == (200, "shop")
    assert SecureConnection(gateway, trusting(authority)).ask("/few")[0] == 200
    assert [ask(gateway, authority.root, "/few").status for _ in range(2)] == [200, 200], "it counts for itself"
    limited = ask(gateway, authority.root, "/few")
    assert limited.status == 429 and int(limited.headers["retry-after"]) > 0
    assert ask(gateway, authority.root, "/small", method="POST", body=b"x" * 2000).status == 413


def test_paths_that_are_refused_are_refused(gateway: GatewayProcess, authority: Authority) -> None:
    assert ask(gateway, authority.root, "/x/..%2Fkeys").status == 400
    assert ask(gateway, authority.root, "/a/../keys").status == 401
    assert ask(gateway, authority.root, "//keys").status == 400
    assert ask(gateway, authority.root, "/a", host="other.example.com").status == 421


def test_a_renewed_certificate_is_got_by_new_connections_and_the_kept_one_goes_on(
    routes: list[Route], issued: Issued, authority: Authority
) -> None:
    renewed = authority.issue(HOST)

    async def renew(gateway: GatewayProcess) -> list[bytes]:
        async with http3(gateway.ports["https"], HOST, authority.root) as kept:
            assert (await kept.ask(HOST, "/a")).status == 200
            asked = [asyncio.create_task(kept.ask(HOST, "/a")) for _ in range(50)]
            await asyncio.to_thread(gateway.switch, routes, options(renewed, "two.key"), {"two.key": renewed.key})
            asked += [asyncio.create_task(kept.ask(HOST, "/a")) for _ in range(50)]
            assert {reply.status for reply in await asyncio.gather(*asked)} == {200}
            async with http3(gateway.ports["https"], HOST, authority.root) as new:
                assert (await new.ask(HOST, "/a")).status == 200
                return [kept.certificate(), new.certificate()]

    with gateway_process(routes, options(issued), {"one.key": issued.key}) as gateway:
        found = run_here(renew(gateway))
    assert found == [ssl.PEM_cert_to_DER_cert(first_of(each.chain)) for each in (issued, renewed)]


def test_it_comes_and_goes_as_the_gateway_runs(routes: list[Route], issued: Issued, authority: Authority) -> None:
    off = msgspec.structs.replace(options(issued), http3=False)
    with gateway_process(routes, off, {"one.key": issued.key}) as gateway:
        secure = SecureConnection(gateway, trusting(authority))
        assert "alt-svc" not in secure.ask("/a")[1]
        gateway.switch(routes, options(issued))
        assert ask(gateway, authority.root, "/a").status == 200
        assert parse_config(gateway.files).options == options(issued)
        gateway.switch(routes, off)
        assert SecureConnection(gateway, trusting(authority)).ask("/a")[0] == 200


def test_without_a_certificate_there_is_none() -> None:
    with pytest.raises(ConfigError, match="`http3`, but no certificate"):
        render_config([], GatewayOptions(http3=True))
