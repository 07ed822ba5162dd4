"""The servers that a real Envoy asks about callers: one with an issuer's keys, and another authoriser."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.real_gateway import RealGateway, real_gateway, upstream
from tests.tokens import AUDIENCE, ISSUER, Issuer, encoded, openssl, with_secret

from slipway._internal.commands.gateway_options import GatewayOptions
from slipway._internal.commands.gateway_route import Route
from slipway._internal.model.auth import AuthSettings, ExternalSettings, JwtSettings
from slipway._internal.model.routes import RouteSettings

PATIENCE = 15.0


@dataclass
class Asked:
    """A server that is asked: what it answers, and what it was asked."""

    port: int = 0
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def settled(self) -> int:
        """Return how often it was asked once it is asked no more: each entry of the table asks at its start."""
        found = -1
        while found != len(self.requests):
            found = len(self.requests)
            time.sleep(1)
        return found


@contextmanager
def asked(certificate: Path | None = None) -> Iterator[Asked]:
    """Serve on loopback, over TLS where there is a file with a key and a certificate."""
    world = Asked()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            named = {name.lower(): value for name, value in self.headers.items()}
            world.requests.append((self.command, self.path, named))
            time.sleep(world.seconds)
            self.send_response(world.status)
            for name, value in world.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(world.body)))
            self.end_headers()
            self.wfile.write(world.body)

        do_POST = do_GET

        def log_message(self, *_words: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    world.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()


def certificate(folder: Path, name: str, address: str = "127.0.0.1") -> Path:
    """Return a file with a key and a certificate for an address, which is its own authority."""
    key, cert, both = folder / f"{name}.key", folder / f"{name}.crt", folder / f"{name}.pem"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl(*made, "-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{address}", "-keyout", key, "-out", cert)
    both.write_text(key.read_text() + cert.read_text())
    return both


def jwt_routes(at: str, url: str, ca: Path) -> list[Route]:
    jwt = JwtSettings(ISSUER, (AUDIENCE,), url=url, ca=ca.with_suffix(".crt").read_text())
    ruled = RouteSettings(path="/jwt", auth=AuthSettings(jwt=jwt))
    return [Route("open", "/", at), Route("jwt", "/jwt", at, rules=ruled)]


@dataclass(frozen=True)
class World:
    gateway: RealGateway
    keys: Asked
    issuer: Issuer

    def status(self, token: str) -> int:
        return self.gateway.status("/jwt", ("Authorization", f"Bearer {token}"))

    def until(self, status: int, token: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while (found := self.status(token)) != status:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)


@contextmanager
def remote(folder: Path, *, address: str = "127.0.0.1", trusted: str = "own") -> Iterator[World]:
    certificate(folder, "own", address), certificate(folder, "other")
    issuer = Issuer.made(folder)
    with upstream() as service, asked(folder / "own.pem") as keys:
        keys.body = issuer.jwks().encode()
        table = jwt_routes(
            f"127.0.0.1:{service.port}", f"https://127.0.0.1:{keys.port}/keys.json", folder / f"{trusted}.pem"
        )
        with real_gateway(table, GatewayOptions(), service) as front:
            yield World(front, keys, issuer)


def test_published_keys_are_fetched_once_and_kept(tmp_path: Path) -> None:
    with remote(tmp_path) as world:
        world.until(200, world.issuer.token())
        asked_before = world.keys.settled()
        assert {path for _, path, _ in world.keys.requests} == {"/keys.json"}
        assert [world.status(world.issuer.token()) for _ in range(20)] == [200] * 20
        assert world.gateway.status("/jwt") == 401
        assert len(world.keys.requests) == asked_before
        world.keys.status = 500
        assert world.status(world.issuer.token()) == 200, "what was fetched holds while its server is away"


@pytest.mark.parametrize("trust", [{"trusted": "other"}, {"address": "127.0.0.2"}])
def test_keys_of_a_server_that_is_not_the_one_are_none(tmp_path: Path, trust: dict[str, str]) -> None:
    with remote(tmp_path, **trust) as world:
        assert [world.status(world.issuer.token()) for _ in range(5)] == [401] * 5
        assert not world.keys.requests and world.gateway.status("/") == 200


@pytest.mark.parametrize("answer", [(500, b""), (200, b""), (200, b"{}"), (200, b"<html>"), (404, b'{"keys": []}')])
def test_without_keys_nobody_is_let_in_and_once_they_are_there_they_hold(
    tmp_path: Path, answer: tuple[int, bytes]
) -> None:
    with remote(tmp_path) as world:
        good = world.keys.body
        world.keys.status, world.keys.body = answer
        table = jwt_routes(
            f"127.0.0.1:{world.gateway.service.port}",
            f"https://127.0.0.1:{world.keys.port}/other.json",
            tmp_path / "own.pem",
        )
        world.gateway.write(table, GatewayOptions())
        world.until(401, world.issuer.token())
        assert world.status(world.issuer.token()) == 401
        world.keys.status, world.keys.body = 200, good
        world.until(200, world.issuer.token())


def test_a_secret_that_an_issuer_publishes_is_no_key(tmp_path: Path) -> None:
    with remote(tmp_path) as world:
        shared = {"kty": "oct", "kid": "one", "alg": "HS256", "k": encoded(b"known to all of them in here")}
        world.keys.body = json.dumps({"keys": [shared, {**world.issuer.jwk(), "kid": "two"}]}).encode()
        table = jwt_routes(
            f"127.0.0.1:{world.gateway.service.port}",
            f"https://127.0.0.1:{world.keys.port}/other.json",
            tmp_path / "own.pem",
        )
        world.gateway.write(table, GatewayOptions())
        world.until(200, world.issuer.token({"kid": "two"}))
        assert world.status(with_secret(b"known to all of them in here")) == 401


def test_a_changed_table_fails_no_request_with_a_token(tmp_path: Path) -> None:
    with remote(tmp_path) as world:
        token = world.issuer.token()
        world.until(200, token)
        table = jwt_routes(
            f"127.0.0.1:{world.gateway.service.port}",
            f"https://127.0.0.1:{world.keys.port}/keys.json",
            tmp_path / "own.pem",
        )
        found: list[int] = []
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                found.append(world.status(token))

        thread = threading.Thread(target=ask)
        thread.start()
        for number in range(5):
            world.gateway.write([*table, Route(f"new{number}", f"/new{number}", table[0].upstream)], GatewayOptions())
            time.sleep(0.5)
        done.set()
        thread.join()
        assert set(found) == {200} and len(found) > 20


@pytest.fixture(scope="module")
def authoriser() -> Iterator[Asked]:
    with asked() as server:
        yield server


@pytest.fixture(scope="module")
def external(authoriser: Asked) -> Iterator[RealGateway]:
    url = f"http://127.0.0.1:{authoriser.port}/check"
    with upstream() as service:
        at = f"127.0.0.1:{service.port}"
        settings = ExternalSettings(url, 1, ("X-Tenant",), ("X-User",))
        auths = {"/api": AuthSettings(external=settings), "/gone": AuthSettings(external="http://127.0.0.1:9/check")}
        table = [Route(path[1:], path, at, rules=RouteSettings(path=path, auth=auth)) for path, auth in auths.items()]
        with real_gateway([Route("open", "/", at), *table], GatewayOptions(), service) as front:
            yield front


@pytest.fixture(autouse=True)
def answers_anew(request: pytest.FixtureRequest) -> None:
    if "external" in request.fixturenames:
        server: Asked = request.getfixturevalue("authoriser")
        server.status, server.body, server.headers, server.seconds = 200, b"", {}, 0
        server.requests.clear()


def test_another_server_lets_in_and_says_who_it_is(external: RealGateway, authoriser: Asked) -> None:
    authoriser.headers = {"X-User": "ann", "X-Admin": "yes", "X-Consumer": "shop"}
    seen = external.seen(
        "/api/x?q=1",
        ("Authorization", "Token t"),
        ("X-Tenant", "acme"),
        ("X-User", "root"),
        ("X-Other", "o"),
        ("x_user", "r"),
    )
    [(method, path, sent)] = authoriser.requests
    assert (method, path) == ("GET", "/check/api/x?q=1")
    assert (sent["authorization"], sent["x-tenant"]) == ("Token t", "acme")
    assert not {"x-user", "x_user", "x-other"} & sent.keys()
    assert [value for name, value in seen if "user" in name] == ["ann"]
    assert not {"x-admin", "x-consumer"} & dict(seen).keys()


def test_what_it_says_is_dropped_from_callers_where_it_says_nothing(external: RealGateway, authoriser: Asked) -> None:
    for path in ("/api", "/"):
        seen = external.seen(path, ("X-User", "root"), ("X_User", "root"))
        assert not [name for name, _ in seen if "user" in name], path


@pytest.mark.parametrize("status", [401, 403])
def test_its_refusal_is_told_in_the_gateways_form(external: RealGateway, authoriser: Asked, status: int) -> None:
    authoriser.status, authoriser.body = status, b"secret reasons"
    authoriser.headers = {"WWW-Authenticate": 'Bearer realm="x"', "X-Internal": "secret"}
    got, headers, body = external.ask("/api")
    assert got == status and b"secret" not in body and "x-internal" not in headers
    assert headers["www-authenticate"] == 'Bearer realm="x"'
    assert json.loads(body)["status"] == status


@pytest.mark.parametrize("status", [500, 502, 503, 404, 302, 204])
def test_any_answer_but_200_lets_nobody_in(external: RealGateway, authoriser: Asked, status: int) -> None:
    authoriser.status = status
    assert external.status("/api") != 200


def test_one_that_is_slow_or_gone_lets_nobody_in(external: RealGateway, authoriser: Asked) -> None:
    authoriser.seconds = 3
    started = time.monotonic()
    status, _, body = external.ask("/api")
    assert (status, json.loads(body)["error"]) == (503, "callers cannot be checked")
    assert time.monotonic() - started < 2.5
    assert external.status("/gone") == 503
    assert external.status("/") == 200


def test_a_request_with_a_body_is_asked_about_without_it(external: RealGateway, authoriser: Asked) -> None:
    reply: Any = external.ask("/api", ("Content-Length", "0"), method="POST")
    assert reply[0] == 200
    assert authoriser.requests[0][0] == "POST"
