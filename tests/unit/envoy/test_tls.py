"""HTTPS, on the real Envoy."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.certificates import Authority, Issued
from tests.e2e.upstream import upstream
from tests.gateway_process import GatewayProcess, gateway_process

from slipway._internal.commands.envoy import GatewayOptions, Route, parse_config
from slipway._internal.commands.gateway_options import Consumer, TlsOptions
from slipway._internal.model.auth import AuthSettings
from slipway._internal.model.consumer_keys import hash_key, new_key
from slipway._internal.model.routes import RouteSettings
from slipway._internal.run.process import ProcessResult, run

HOST = "shop.example.com"


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue(HOST, "api.example.com")


def options(issued: Issued, key: str = "one.key", port: int = 8443, hsts: int = 0) -> GatewayOptions:
    return GatewayOptions(hosts=(HOST,), tls=TlsOptions(issued.chain, key, port), hsts=hsts)


@pytest.fixture(scope="module")
def routes() -> Iterator[list[Route]]:
    with upstream() as service:
        at = f"127.0.0.1:{service.port}"
        api = RouteSettings(path="/", host="api.example.com")
        yield [Route("web", "/", at), Route("api", "/", at, rules=api)]


@pytest.fixture(scope="module")
def gateway(routes: list[Route], issued: Issued) -> Iterator[GatewayProcess]:
    with gateway_process(routes, options(issued, hsts=600), {"one.key": issued.key}) as found:
        yield found


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.root))


def connect(gateway: GatewayProcess, context: ssl.SSLContext, host: str = HOST) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", gateway.ports["https"]), timeout=20)
    return context.wrap_socket(plain, server_hostname=host)


class SecureConnection(http.client.HTTPConnection):
    """A connection to the gateway's HTTPS port, for a host."""

    def __init__(self, gateway: GatewayProcess, context: ssl.SSLContext, host: str = HOST) -> None:
        super().__init__(host, timeout=20)
        self._dial = lambda: connect(gateway, context, host)

    def connect(self) -> None:
        self.sock = self._dial()

    def ask(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> tuple[int, Any, bytes]:
        self.request(method, path, headers=dict(headers or {}))
        reply = self.getresponse()
        return reply.status, reply.headers, reply.read()


def curl(gateway: GatewayProcess, authority: Authority, host: str, path: str, *words: str) -> ProcessResult:
    port = gateway.ports["https"]
    words = ("--cacert", str(authority.root), "--resolve", f"{host}:{port}:127.0.0.1", *words)
    return run(["curl", "--silent", "--show-error", *words, f"https://{host}:{port}{path}"])


def test_clients_that_check_the_certificate_get_what_the_service_says(
    gateway: GatewayProcess, authority: Authority
) -> None:
    connection = SecureConnection(gateway, trusting(authority))
    status, headers, body = connection.ask("/a", {"X-Forwarded-Proto": "http"})
    seen = dict(json.loads(body)["headers"])
    assert (status, seen["x-forwarded-proto"], seen["host"]) == (200, "https", HOST)
    assert not [name for name in seen if name.startswith("x-slipway")]
    assert headers["strict-transport-security"] == "max-age=600"
    assert connection.sock.version() == "TLSv1.3"
    assert connection.ask("/.slipway/health")[0] == 200


def test_who_calls_with_a_key_or_a_password_over_https_is_let_in(
    routes: list[Route], issued: Issued, authority: Authority
) -> None:
    key = new_key()
    table = [
        Route("keys", "/keys", routes[0].upstream, rules=RouteSettings(path="/keys", auth=AuthSettings(keys=True))),
        Route("basic", "/basic", routes[0].upstream, rules=RouteSettings(path="/basic", auth=AuthSettings(basic=True))),
    ]
    callers = msgspec.structs.replace(options(issued), consumers={"shop": Consumer((hash_key(key),))})
    with gateway_process(table, callers, {"one.key": issued.key}) as gateway:
        connection = SecureConnection(gateway, trusting(authority))
        password = base64.b64encode(f"shop:{key}".encode()).decode()
        for path, header in (("/keys", {"X-API-Key": key}), ("/basic", {"Authorization": f"Basic {password}"})):
            assert connection.ask(path)[0] == 401
            status, _, body = connection.ask(path, header)
            assert (status, dict(json.loads(body)["headers"])["x-consumer"]) == (200, "shop")
            assert gateway.ask(path, HOST, headers=header)[0] == 308
            assert gateway.ask(path, "gateway", headers=header)[0] == 200


def test_http_2_is_spoken_with_whom_can(gateway: GatewayProcess, authority: Authority) -> None:
    found = curl(gateway, authority, "api.example.com", "/a", "--http2", "--write-out", "%{http_version} %{http_code}")
    assert found.output.endswith("2 200")
    plain = curl(gateway, authority, HOST, "/a", "--http1.1", "--write-out", "%{http_version} %{http_code}")
    assert plain.output.endswith("1.1 200")


@pytest.mark.parametrize(("protocol", "status"), [("--http2", "421"), ("--http1.1", "404")])
def test_a_host_that_is_not_served_is_told_so(
    gateway: GatewayProcess, authority: Authority, protocol: str, status: str
) -> None:
    words = (protocol, "--header", "Host: other.example", "--write-out", "%{http_code}")
    found = curl(gateway, authority, HOST, "/a", *words)
    assert found.output == f'{{"error": "no service has this host"}}\n{status}'


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_whoever_comes_without_tls_is_sent_to_it(gateway: GatewayProcess, method: str) -> None:
    forged = {"X-Slipway-TLS": "HTTP/2", "x_slipway_tls": "1", "X-Forwarded-Proto": "https"}
    status, headers, _ = gateway.ask("/a?b=c", f"{HOST}:80", method, forged)
    assert (status, headers["location"]) == (308, f"https://{HOST}:8443/a?b=c")
    assert "strict-transport-security" not in headers
    assert gateway.ask("/a", "api.example.com", method)[0] == 308
    assert gateway.ask("/a", "other.example", method)[0] == 308


def test_health_and_services_of_the_stack_need_no_tls(gateway: GatewayProcess) -> None:
    assert gateway.ask("/.slipway/health", "other.example")[0] == 200
    assert gateway.ask("/.slipway/other", HOST)[0] == 308
    status, _, body = gateway.ask("/a", "gateway:8080", headers={"X-Forwarded-Proto": "https"})
    assert (status, dict(json.loads(body)["headers"])["x-forwarded-proto"]) == (200, "http")


@pytest.mark.parametrize(
    "words",
    [("-tls1_1",), ("-tls1",), ("-tls1_2", "-cipher", "AES128-SHA:AES256-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")],
)
def test_old_protocols_and_ciphers_are_refused(gateway: GatewayProcess, words: Sequence[str]) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.ports['https']}", *words]
    found = run(command, stdin="")
    assert "alert" in found.output and "Cipher is (NONE)" in found.output
    assert "Cipher is ECDHE" in run([*command[:4], "-tls1_2"], stdin="").output


def test_nobody_reads_the_key(gateway: GatewayProcess, issued: Issued) -> None:
    secret = issued.key.splitlines()[1]
    readable = [path for path in gateway.folder.iterdir() if path.is_file()]
    assert len(readable) >= 5
    assert not [path for path in readable if secret in path.read_text(errors="replace")]
    assert secret not in gateway.admin("/config_dump?include_eds") and secret not in gateway.admin("/certs")
    assert (gateway.folder / "secrets" / "one.key").stat().st_mode & 0o777 == 0o400


def test_a_client_that_takes_back_each_request_loses_its_connection_and_nobody_else_does(
    gateway: GatewayProcess, authority: Authority
) -> None:
    context = trusting(authority)
    other = SecureConnection(gateway, context)
    assert other.ask("/a")[0] == 200
    context = trusting(authority)
    context.set_alpn_protocols(["h2"])
    with connect(gateway, context) as talk:
        talk.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        with suppress(OSError):
            for number in range(2000):
                stream = 2 * number + 1
                talk.sendall(frame(1, 5, stream, HEADERS) + frame(3, 0, stream, bytes([0, 0, 0, 8])))
        with suppress(OSError):
            while talk.recv(65536):
                pass
    stats = gateway.admin("/stats?filter=^http.gateway.downstream_rq")
    assert "\nhttp.gateway.downstream_rq_too_many_premature_resets: 1\n" in stats
    assert int(stats.split("\nhttp.gateway.downstream_rq_http2_total: ")[1].split()[0]) < 400  # of the 2,000 it sent
    assert other.ask("/a")[0] == 200


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


# GET, https and / of HPACK's own table, and the authority in plain.
HEADERS = bytes([0x82, 0x87, 0x84, 0x01, len(HOST)]) + HOST.encode()


def test_a_renewed_certificate_is_taken_up_while_requests_go_on(
    routes: list[Route], issued: Issued, authority: Authority
) -> None:
    context, renewed = trusting(authority), [authority.issue(HOST, rsa=number == 1) for number in range(3)]
    with gateway_process(routes, options(issued), {"one.key": issued.key}) as gateway:
        load = Load(gateway, context)
        with load:
            load.wait_for(100)
            for number, certificate in enumerate(renewed):
                gateway.switch(routes, options(certificate, f"{number}.key"), {f"{number}.key": certificate.key})
                load.wait_for(50)
                with connect(gateway, context) as talk:
                    assert talk.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(first_of(certificate.chain))
            load.wait_for(200)
        assert load.failures == []
        assert load.done / 4 < load.opened < load.done  # the others are on four connections from before
        print(f"{load.done} requests in {load.seconds:.1f} s, {load.opened} connections, three certificates")


def first_of(chain: str) -> str:
    end = "-----END CERTIFICATE-----"
    return f"{chain.partition(end)[0]}{end}"


def test_a_key_of_another_certificate_is_refused_and_the_old_certificate_stays(
    routes: list[Route], issued: Issued, authority: Authority
) -> None:
    other = authority.issue(HOST)
    with gateway_process(routes, options(issued), {"one.key": issued.key}) as gateway:
        with pytest.raises(AssertionError):
            gateway.switch(routes, options(other, "wrong.key"), {"wrong.key": issued.key})
        assert SecureConnection(gateway, trusting(authority)).ask("/a")[0] == 200
        assert issued.key.splitlines()[1] not in gateway.log


def test_who_has_a_key_is_not_redirected_again(routes: list[Route], authority: Authority, issued: Issued) -> None:
    """A route is chosen once: by the time a script changes headers, the mark of how a request came is gone."""
    kept = Route("kept", "/kept", routes[0].upstream, rules=RouteSettings(path="/kept", auth=AuthSettings(keys=True)))
    known = replace(options(issued), consumers={"shop": Consumer((hash_key("slw_key"),))})
    with gateway_process([*routes, kept], known, {"one.key": issued.key}) as gateway:
        connection = SecureConnection(gateway, trusting(authority))
        assert connection.ask("/kept", {"X-Api-Key": "slw_key"})[0] == 200
        assert connection.ask("/kept", {"X-Api-Key": "slw_other"})[0] == 401


def test_tls_comes_and_goes_as_it_runs(routes: list[Route], issued: Issued, authority: Authority) -> None:
    plain = GatewayOptions(hosts=(HOST,))
    with gateway_process(routes, plain) as gateway:
        kept = http.client.HTTPConnection("127.0.0.1", gateway.ports["http"], timeout=20)

        def ask_kept() -> int:
            kept.request("GET", "/a", headers={"Host": HOST})
            reply = kept.getresponse()
            reply.read()
            return reply.status

        assert ask_kept() == 200
        for key in ("one.key", "two.key"):
            gateway.switch(routes, options(issued, key), {key: issued.key})
            assert SecureConnection(gateway, trusting(authority)).ask("/a")[0] == 200
            assert gateway.ask("/a", HOST)[0] == 308
            gateway.switch(routes, plain)
            assert gateway.ask("/a", HOST)[0] == 200
            with pytest.raises(OSError):
                connect(gateway, trusting(authority))
        assert parse_config(gateway.files).options == plain


class Load:
    """About 200 requests a second for the time of a `with`: half on kept connections, half each on a new one."""

    THREADS = 8

    def __init__(self, gateway: GatewayProcess, context: ssl.SSLContext) -> None:
        self.failures: list[str] = []
        self.done = self.opened = 0
        self.seconds = 0.0
        self._gateway, self._context = gateway, context
        self._end, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._work, args=(number % 2 == 0,)) for number in range(self.THREADS)]

    def __enter__(self) -> None:
        self._start = time.monotonic()
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self.seconds = time.monotonic() - self._start

    def wait_for(self, requests: int) -> None:
        """Return when so many more are done: 200 take a second where nothing else keeps the machine busy."""
        end, wanted = time.monotonic() + 60, self.done + requests
        while self.done < wanted:
            assert time.monotonic() < end, f"{self.done} requests, {wanted} expected"
            time.sleep(0.01)

    def _work(self, keeps: bool) -> None:
        connection, due = SecureConnection(self._gateway, self._context), time.monotonic()
        while not self._end.is_set():
            failure, opens = "", connection.sock is None
            try:
                # What the gateway answers itself keeps this process's service from being the measure.
                status = connection.ask("/a" if keeps else "/.slipway/health")[0]
                failure = "" if status == 200 else f"status {status}"
            except (OSError, http.client.HTTPException) as error:
                failure = repr(error)
            if failure or not keeps:
                connection.close()
            with self._lock:
                self.done += 1
                self.opened += opens
                self.failures += [failure] if failure else []
            due = max(due + self.THREADS / 200, time.monotonic() - 0.5)
            time.sleep(max(0.0, due - time.monotonic()))
