"""Certificates by ACME: a real authority, Pebble, asks the real Envoy."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from tests.certificates import Authority, Issued
from tests.e2e.upstream import upstream
from tests.gateway_process import GatewayProcess, gateway_process
from tests.pebble import Pebble, pebble
from tests.unit.envoy.test_tls import Load, SecureConnection

from slipway._internal.commands.envoy import GatewayOptions, Route, parse_config
from slipway._internal.commands.envoy_acme import CHALLENGE_PATH
from slipway._internal.commands.gateway_options import AcmeOptions, Consumer, MaintenanceOptions
from slipway._internal.model import acme as kept
from slipway._internal.model.acme import (
    AcmeFailure,
    AcmeSettings,
    IssuedCertificate,
    PendingOrder,
    parse_kept,
    renewal_time,
)
from slipway._internal.model.auth import AuthSettings
from slipway._internal.model.routes import RouteSettings
from slipway._internal.release.issue import NotIssued, ensure_certificate
from slipway._internal.rollout.certificate_store import tls_of

HOST, API = "shop.example.com", "api.example.com"
WAITING = GatewayOptions(hosts=(HOST,), acme=AcmeOptions(8443), hsts=600)


@dataclass
class Front:
    """The gateway of a stack that has its certificates issued, and its store; an `IssuingGateway`."""

    process: GatewayProcess
    routes: list[Route]
    store: dict[str, str] = field(default_factory=dict)
    options: GatewayOptions = WAITING
    on_write: Callable[[Mapping[str, str]], None] = lambda _: None

    def read_store(self) -> Mapping[str, str]:
        return dict(self.store)

    def write_store(self, files: Mapping[str, str]) -> None:
        self.store.update(files)
        self.on_write(files)

    def answer(self, challenges: Mapping[str, str]) -> None:
        self._switch(challenges=dict(challenges))

    def serve(self, issued: IssuedCertificate) -> None:
        tls = tls_of(issued, 8443)
        self._switch({tls.key: issued.key}, tls=tls)

    def serves(self, issued: IssuedCertificate) -> bool:
        return self.options.tls == tls_of(issued, 8443)

    def _switch(self, secrets: Mapping[str, str] | None = None, **changes: object) -> None:
        options = msgspec.structs.replace(self.options, **changes)
        self.process.switch(self.routes, options, secrets)
        self.options = options


@pytest.fixture(scope="module")
def routes() -> Iterator[list[Route]]:
    with upstream() as service:
        at = f"127.0.0.1:{service.port}"
        yield [Route("web", "/", at), Route("api", "/", at, rules=RouteSettings(path="/", host=API))]


@pytest.fixture
def front(routes: list[Route]) -> Iterator[Front]:
    with gateway_process(routes, WAITING) as process:
        yield Front(process, routes)


@pytest.fixture(scope="module", autouse=True)
def server(authority: Authority) -> Issued:
    """What the authority itself is known by, when it is asked."""
    World.ca, World.server = authority, authority.issue("localhost")
    return World.server


class World:
    """What all tests here have in common."""

    ca: Authority
    server: Issued


@contextmanager
def authority_of(front: Front, folder: Path, **more: object) -> Iterator[tuple[Pebble, AcmeSettings]]:
    folder.mkdir(exist_ok=True)
    with pebble(folder, front.process.ports["http"], World.server, World.ca.root, **more) as found:
        yield found, AcmeSettings(found.directory, (HOST, API), "ops@example.com", str(found.ca_file))


def issue(front: Front, settings: AcmeSettings, **more: object) -> bool:
    return ensure_certificate(settings, front, lambda _: None, **more).issued


def trusting(authority: Pebble, folder: Path) -> ssl.SSLContext:
    (folder / "root.pem").write_text(authority.root())
    return ssl.create_default_context(cafile=str(folder / "root.pem"))


def test_a_certificate_is_issued_and_served_and_never_asked_for_again(
    front: Front, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert front.process.ask("/a", HOST)[0] == 200  # by HTTP, until there is one
    with authority_of(front, tmp_path / "p") as (authority, settings):
        assert issue(front, settings)
        context = trusting(authority, tmp_path)
        for host in (HOST, API):
            status, headers, body = SecureConnection(front.process, context, host).ask("/a")
            assert (status, json.loads(body)["headers"][0][1]) == (200, host)
            assert headers["strict-transport-security"] == "max-age=600"
        assert front.process.ask("/a", HOST)[0] == 308
        assert front.options.challenges == {} and parse_config(front.process.files).options == front.options
        assert not issue(front, settings) and authority.orders() == 1
        account = front.store[kept.ACCOUNT]
        # A certificate that is good is taken up again where the gateway lost it, and not issued again.
        front._switch(tls=None)
        assert not issue(front, settings) and authority.orders() == 1
        assert SecureConnection(front.process, context).ask("/a")[0] == 200
        assert front.store[kept.ACCOUNT] == account
    keys = [json.loads(front.store[name])["key"] for name in (kept.ACCOUNT, kept.CERTIFICATE)]
    readable = [path.read_text(errors="replace") for path in front.process.folder.iterdir() if path.is_file()]
    said = "".join([*readable, caplog.text, front.process.admin("/config_dump")])
    # The third line is of the public key alone.
    assert len(set(keys)) == 2 and not [key for key in keys for line in key.splitlines()[1:3] if line in said]


def test_the_challenge_wins_over_each_rule_and_is_of_the_stacks_hosts_alone(routes: list[Route]) -> None:
    token, proof = "t" * 43, f"{'t' * 43}.{'p' * 43}"
    at = f"{CHALLENGE_PATH}/{token}"
    closed = RouteSettings(path="/", auth=AuthSettings(keys=True), deny=("127.0.0.0/8",))
    table = [Route("web", "/", routes[0].upstream, rules=closed)]
    options = msgspec.structs.replace(
        WAITING, challenges={token: proof}, consumers={"shop": Consumer(("a" * 64,))}, maintenance=MaintenanceOptions()
    )
    with gateway_process(table, options) as gateway:
        status, headers, body = gateway.ask(at, HOST)
        assert (status, body.decode(), headers["content-type"]) == (200, proof, "application/octet-stream")
        assert gateway.ask(f"{at}x", HOST)[0] == gateway.ask(at, "gateway")[0] == 503
        assert gateway.ask(at, "other.example.com")[0] == 404
        gateway.switch(table, msgspec.structs.replace(options, maintenance=None))
        assert gateway.ask(at, HOST)[0] == 200 and gateway.ask(f"{at}x", HOST)[0] in (401, 403)


def test_a_certificate_is_renewed_after_two_thirds_of_its_time_while_requests_go_on(
    front: Front, tmp_path: Path
) -> None:
    with authority_of(front, tmp_path / "p", days=1 / 24) as (authority, settings):
        assert issue(front, settings)
        first = parse_kept(front.store, kept.CERTIFICATE, IssuedCertificate)
        assert first
        due = renewal_time(first.parse())
        assert not issue(front, settings, now=due - timedelta(seconds=1))
        load = Load(front.process, trusting(authority, tmp_path))
        with load:
            load.wait_for(100)
            assert issue(front, settings, now=due)
            load.wait_for(100)
            second = front.options.tls
            with socket.create_connection(("127.0.0.1", front.process.ports["https"]), 20) as plain:
                talk = load._context.wrap_socket(plain, server_hostname=HOST)
                served = ssl.DER_cert_to_PEM_cert(talk.getpeercert(binary_form=True) or b"")
                talk.close()
            load.wait_for(100)
        assert load.failures == [] and load.done > load.opened > 20
        assert second and second.certificate.startswith(served.strip()) and second.certificate != first.chain
        print(f"{load.done} requests in {load.seconds:.1f} s, {load.opened} connections, one renewal")


def test_another_host_or_another_authority_needs_another_certificate(front: Front, tmp_path: Path) -> None:
    with authority_of(front, tmp_path / "p") as (authority, settings):
        assert issue(front, replace(settings, hosts=(HOST,)))
        assert issue(front, settings)
        with authority_of(front, tmp_path / "q") as (other, elsewhere):
            assert issue(front, elsewhere) and other.orders() == 1
            assert SecureConnection(front.process, trusting(other, tmp_path), API).ask("/a")[0] == 200
        assert authority.orders() == 2


def test_nonces_that_are_refused_are_replaced(front: Front, tmp_path: Path) -> None:
    with authority_of(front, tmp_path / "p", environment={"PEBBLE_WFE_NONCEREJECT": "40"}) as (_, settings):
        assert issue(front, settings)
    with authority_of(front, tmp_path / "q", environment={"PEBBLE_WFE_NONCEREJECT": "100"}) as (_, settings):
        before = front.options
        with pytest.raises(NotIssued, match=r"refuses: .*badNonce"):
            issue(front, settings)
        assert front.options == before


def fail(front: Front, settings: AcmeSettings, **more: object) -> NotIssued:
    before = front.process.ask("/a", HOST)[0]
    with pytest.raises(NotIssued) as caught:
        ensure_certificate(settings, front, lambda _: None, **more)
    assert front.process.ask("/a", HOST)[0] == before
    assert front.options.challenges == {}
    return caught.value


def test_a_host_that_leads_elsewhere_is_named_and_not_asked_for_again_at_once(front: Front, tmp_path: Path) -> None:
    with authority_of(front, tmp_path / "p") as (authority, settings):
        authority.names[API] = "127.0.0.9"
        now = datetime.now(UTC)
        error = fail(front, settings)
        assert API in error.message and "127.0.0.9" in error.message and "connection" in error.message.lower()
        assert f"http://{API}/.well-known/acme-challenge/" in error.remedy and not error.usable
        again = fail(front, settings)
        assert "tried 1 times; not again before" in again.message and "again at once" in again.remedy
        assert authority.orders() == 1
        fail(front, settings, again=True)
        failure = parse_kept(front.store, kept.FAILURE, AcmeFailure)
        assert failure and failure.count == 2 and failure.until > (now + timedelta(minutes=29)).timestamp()
        authority.names.clear()
        assert issue(front, settings, again=True) and front.store[kept.FAILURE] == ""
        with pytest.raises(OSError):  # who does not trust it gets nothing
            SecureConnection(front.process, ssl.create_default_context()).ask("/a")


def test_an_answer_that_is_wrong_issues_nothing(front: Front, tmp_path: Path) -> None:
    class Wrong(Front):
        def answer(self, challenges: Mapping[str, str]) -> None:
            super().answer({token: f"{token}.{'x' * 43}" for token in challenges})

    with authority_of(front, tmp_path / "p") as (_, settings):
        error = fail(Wrong(front.process, front.routes), settings)
        assert HOST in error.message or API in error.message
        assert "unauthorized" in error.message
        assert front.options.tls is None


def test_a_host_that_the_authority_does_not_serve_is_said_with_its_words(front: Front, tmp_path: Path) -> None:
    with authority_of(front, tmp_path / "p") as (_, settings):
        error = fail(front, replace(settings, hosts=("blocked.example.com",)))
        assert "refuses" in error.message and "rejectedIdentifier" in error.message
        # Of a host that the gateway does not have, it does not answer either.
        error = fail(front, replace(settings, hosts=("other.example.com",)))
        assert "does not issue a certificate for other.example.com" in error.message


def test_an_authority_that_cannot_be_asked_is_named_and_does_not_count(front: Front, tmp_path: Path) -> None:
    with authority_of(front, tmp_path / "p") as (_, settings):
        error = fail(front, replace(settings, ca_file=""))
        assert "is not trusted" in error.message and "slipway:acme-ca" in error.remedy
        error = fail(front, replace(settings, ca_file=str(tmp_path / "none.pem")))
        assert "there is no file" in error.message
        error = fail(front, replace(settings, directory=settings.directory.replace("/dir", "/other")))
        assert "does not answer as an authority does" in error.message
        error = fail(front, settings, now=datetime.now(UTC) + timedelta(hours=3))
        assert "this machine's clock says" in error.message
    error = fail(front, settings)
    assert "cannot be reached" in error.message
    assert kept.FAILURE not in front.store


def test_a_renewal_that_fails_leaves_the_certificate_that_there_is(front: Front, tmp_path: Path) -> None:
    with authority_of(front, tmp_path / "p", days=1 / 24) as (authority, settings):
        assert issue(front, settings)
        context = trusting(authority, tmp_path)
        authority.names[HOST] = "127.0.0.9"
        error = fail(front, settings, now=datetime.now(UTC) + timedelta(minutes=45))
        assert error.usable and SecureConnection(front.process, context).ask("/a")[0] == 200


@pytest.mark.parametrize("dies_at", [kept.ACCOUNT, kept.ORDER, "challenge", kept.CERTIFICATE])
def test_a_run_that_is_killed_is_gone_on_with_and_nothing_is_asked_for_twice(
    front: Front, tmp_path: Path, dies_at: str
) -> None:
    """At each step a process is killed, which leaves behind what it had written, and a challenge that is answered."""
    with authority_of(front, tmp_path / "p") as (authority, settings):
        store = tmp_path / "store.json"

        def die(files: Mapping[str, str]) -> None:
            store.write_text(json.dumps(front.store))
            if files.get(dies_at):
                os.kill(os.getpid(), signal.SIGKILL)

        class Dying(Front):
            def answer(self, challenges: Mapping[str, str]) -> None:
                super().answer(challenges)
                if dies_at == "challenge":
                    os.kill(os.getpid(), signal.SIGKILL)

        front.on_write = die
        dying = Dying(front.process, front.routes, front.store, on_write=die)
        child = multiprocessing.get_context("fork").Process(target=issue, args=(dying, settings))
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
        after = json.loads(store.read_text())
        # The gateway is as the child left it: its configuration, which a process reads back, says so.
        front.process.files = {name: (front.process.folder / name).read_text() for name in front.process.files}
        left = Front(front.process, front.routes, after, front.options)
        account = after[kept.ACCOUNT]
        assert issue(left, settings) is (dies_at != kept.CERTIFICATE)
        assert left.store[kept.ACCOUNT] == account and authority.orders() == 1
        pending = parse_kept(after, kept.ORDER, PendingOrder)
        assert pending is None  # it came to its end
        assert SecureConnection(front.process, trusting(authority, tmp_path)).ask("/a")[0] == 200


class Limited(BaseHTTPRequestHandler):
    """An authority that takes accounts and no more orders; Pebble has no limits."""

    protocol_version = "HTTP/1.1"
    orders = 0

    def do_GET(self) -> None:
        at = f"https://localhost:{self.server.server_address[1]}"
        self._say(200, {name: f"{at}/{name}" for name in ("newNonce", "newAccount", "newOrder")})

    def do_HEAD(self) -> None:
        self._say(200)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/newAccount":
            return self._say(201, {"status": "valid"}, Location="https://localhost/account")
        type(self).orders += 1
        problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates (5) issued"}
        return self._say(429, problem, "application/problem+json", Retry_After="172800")

    def _say(self, status: int, body: object = None, kind: str = "application/json", **headers: str) -> None:
        text = json.dumps(body).encode() if body else b""
        self.send_response(status)
        for name, value in {"Replay-Nonce": "bm9uY2U", "Content-Type": kind, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


def test_a_limit_of_the_authority_is_kept_to(front: Front, tmp_path: Path, server: Issued) -> None:
    for name, text in (("crt", server.chain), ("key", server.key)):
        (tmp_path / name).write_text(text)
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Limited)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        directory = f"https://localhost:{listening.server_address[1]}/directory"
        settings = AcmeSettings(directory, (HOST,), ca_file=str(World.ca.root))
        now = datetime.now(UTC)
        error = fail(front, settings)
        assert "too many certificates (5) issued (rateLimited)" in error.message and "staging" in error.remedy
        tomorrow = now + timedelta(hours=30)
        failure = parse_kept(front.store, kept.FAILURE, AcmeFailure)
        assert failure and failure.holds(settings, tomorrow) and Limited.orders == 1
        assert not failure.holds(settings, now + timedelta(hours=49))
        fail(front, settings)
        assert Limited.orders == 1
        assert not failure.holds(replace(settings, hosts=(API,)), now)  # something else may be asked for
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
