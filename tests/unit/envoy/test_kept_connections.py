"""Connections to services that are used again, on the real Envoy: nothing is lost, doubled or taken for another's."""

from __future__ import annotations

import asyncio
import http.client
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest
from tests.running_envoy import RunningEnvoy

from slipway._internal.commands.envoy import GatewayOptions, Route
from slipway._internal.commands.gateway_options import Consumer
from slipway._internal.model.auth import AuthSettings
from slipway._internal.model.consumer_keys import hash_key
from slipway._internal.model.routes import RouteSettings

ASKED = 300
KEY = "slw_key"
SMUGGLED = b"GET /secret HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Careless:
    """A service that reads no body, and closes kept connections as `closes` says: milliseconds after an answer."""

    closes: tuple[float, float] | None = None
    port: int = 0
    asked: list[tuple[int, str]] = field(default_factory=list)
    """The connection's number and the first line of each request, in order."""
    connections: int = 0

    def by_connection(self) -> Counter[int]:
        return Counter(number for number, _ in self.asked)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        left = None
        try:
            while True:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), left)
                line = head.split(b"\r\n")[0].decode()
                self.asked.append((number, line))
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(line)}\r\n\r\n{line}".encode())
                await writer.drain()
                if self.closes:
                    left = random.uniform(*self.closes) / 1000
        except (TimeoutError, asyncio.CancelledError, asyncio.IncompleteReadError, OSError):
            writer.close()


@contextmanager
def careless(closes: tuple[float, float] | None = None) -> Iterator[Careless]:
    """Serve on loopback for the time of a `with`."""
    found, loop, ready = Careless(closes), asyncio.new_event_loop(), threading.Event()

    async def run() -> None:
        server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
        found.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await server.serve_forever()

    task = loop.create_task(run())

    def work() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        if left := asyncio.all_tasks(loop):
            for talk in left:
                talk.cancel()
            loop.run_until_complete(asyncio.wait(left))
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(10)
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


def lead_to(gateway: RunningEnvoy, service: Careless, auth: AuthSettings | None = None) -> None:
    """Send all requests to the service, whose health Envoy has found before."""
    rules = RouteSettings(path="/", auth=auth)
    options = GatewayOptions(consumers={"shop": Consumer((hash_key(KEY),))})
    gateway.process.switch([Route("a", "/", f"127.0.0.1:{service.port}", rules=rules)], options)
    service.asked.clear()


def test_a_get_uses_a_connection_that_others_used_and_what_may_not_be_sent_twice_its_own(
    gateway: RunningEnvoy,
) -> None:
    with careless() as service:
        lead_to(gateway, service)
        for number in range(20):
            assert gateway.ask(f"/get{number}").status == 200
        kept = service.by_connection()
        assert len(kept) <= 2 and sum(kept.values()) == 20  # one for each of Envoy's threads
        service.asked.clear()
        for method, body in [("POST", b"x"), ("PUT", b"x"), ("DELETE", None), ("HEAD", None), ("GET", b"x")] * 3:
            assert gateway.ask("/own", method, body).status == 200
        assert [line for _, line in service.asked if "/own" not in line] == []
        own = service.by_connection()
        assert len(service.asked) == len(own) == 15 and not own.keys() & kept.keys()


@pytest.mark.parametrize("closes", [(0.0, 2.0), (0.0, 30.0)])
def test_a_service_that_closes_kept_connections_at_any_moment_costs_no_request_and_doubles_no_post(
    gateway: RunningEnvoy, closes: tuple[float, float]
) -> None:
    with careless(closes) as service:
        lead_to(gateway, service)

        def call(caller: int) -> list[str]:
            wrong = []
            connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
            for number in range(ASKED):
                method = "POST" if number % 3 == 0 else "GET"
                connection.request(method, f"/{caller}/{number}")
                reply = connection.getresponse()
                text = reply.read().decode()
                if reply.status != 200 or text != f"{method} /{caller}/{number} HTTP/1.1":
                    wrong.append(f"{reply.status}: {text}")
            connection.close()
            return wrong

        with ThreadPoolExecutor(4) as callers:
            assert [wrong for found in callers.map(call, range(4)) for wrong in found] == []
        posts = Counter(line for _, line in service.asked if line.startswith("POST"))
        assert len(posts) == 4 * ASKED / 3 and set(posts.values()) == {1}
        assert service.connections > 100


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("asks_for_keys", [False, True])
def test_a_body_that_a_service_does_not_read_is_no_request_of_the_next_caller(
    gateway: RunningEnvoy, method: str, chunked: bool, asks_for_keys: bool
) -> None:
    with careless() as service:
        lead_to(gateway, service, AuthSettings(keys=True) if asks_for_keys else None)
        for number in range(5):
            head = f"{method} /first HTTP/1.1\r\nHost: x\r\nX-Api-Key: {KEY}\r\n".encode()
            if chunked:
                body = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
            else:
                body = b"Content-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED)
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as attacker:
                attacker.sendall(head + body)
                assert b" 200 OK" in attacker.recv(65536)
            answer = gateway.ask(f"/next{number}", X__Api__Key=KEY)
            assert (answer.status, answer.body.decode()) == (200, f"GET /next{number} HTTP/1.1")
        # The service itself took the bytes for a request, on a connection that nobody else was given.
        strangers = {number for number, line in service.asked if "/first" in line or "/secret" in line}
        assert not strangers & {number for number, line in service.asked if "/next" in line}


def test_the_statistics_of_both_kinds_of_connections_are_the_services(gateway: RunningEnvoy) -> None:
    with careless() as service:
        lead_to(gateway, service)
        assert [gateway.ask("/x").status, gateway.ask("/x", "POST", b"x").status] == [200, 200]
        shown = gateway.process.admin(f"/stats?filter=_{service.port}.*upstream_rq_completed")
        assert f"\ncluster.127.0.0.1_{service.port}.upstream_rq_completed: 2\n" in shown.replace("\r", "")
        assert "_kept." not in shown
