"""How requests are repeated, on the real Envoy."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from tests.running_envoy import RunningEnvoy

from slipway._internal.commands.envoy import Route
from slipway._internal.model.route_rules import RetrySettings
from slipway._internal.model.routes import RouteSettings


@dataclass
class Faulty:
    """A service that answers so many requests with a status (0: drops the connection), and then with 200."""

    status: int
    times: int
    port: int = 0
    asked: list[str] = field(default_factory=list)


@contextmanager
def faulty(status: int, times: int) -> Iterator[Faulty]:
    found = Faulty(status, times)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline().decode()
            while self.rfile.readline().strip():
                pass
            if not line:  # Envoy looks whether the port is open
                return
            found.asked.append(line.split()[0])
            status = found.status if len(found.asked) <= found.times else 200
            if status:
                self.wfile.write(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield found
        server.shutdown()


@pytest.mark.parametrize(
    ("retries", "status", "method", "asked", "answer"),
    [
        (None, 0, "GET", 3, 200),
        (None, 0, "POST", 1, 502),
        (None, 503, "GET", 1, 503),
        (0, 0, "GET", 1, 502),
        (1, 0, "GET", 2, 502),
        (2, 0, "PUT", 3, 200),
        (2, 0, "POST", 1, 502),
        (RetrySettings(on=("connect",)), 0, "GET", 1, 502),
        (RetrySettings(on=("connect", "503")), 503, "GET", 3, 200),
        (RetrySettings(on=("connect", "503")), 502, "GET", 1, 502),
        (RetrySettings(on=("connect", "503")), 0, "GET", 1, 502),
        (RetrySettings(on=("503",)), 503, "POST", 1, 503),
        (RetrySettings(on=("503",), any_method=True), 503, "POST", 3, 200),
        (RetrySettings(times=1, any_method=True), 0, "PATCH", 2, 502),
    ],
)
def test_a_request_is_repeated_only_as_the_route_says(
    gateway: RunningEnvoy, retries: RetrySettings | int | None, status: int, method: str, asked: int, answer: int
) -> None:
    with faulty(status, 2) as service:
        rules = RouteSettings(path="/a", retries=retries)
        gateway.serve([Route("a", "/a", f"127.0.0.1:{service.port}", rules=rules)])
        found = gateway.ask("/a", method, None if method == "GET" else b"x")
        assert (found.status, service.asked) == (answer, [method] * asked)


@pytest.mark.parametrize("retries", [0, RetrySettings(on=("503",))])
def test_without_a_reason_to_repeat_a_refused_connection_is_an_error_at_once(
    gateway: RunningEnvoy, retries: RetrySettings | int
) -> None:
    gateway.serve([Route("a", "/a", "127.0.0.1:9", rules=RouteSettings(path="/a", retries=retries))])
    assert gateway.ask("/a").status == 502
    assert "upstream_rq_retry: 0" in gateway.process.admin("/stats?filter=cluster.127.0.0.1_9.upstream_rq_retry$")
