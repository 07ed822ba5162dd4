"""A canary's share of requests, on the real Envoy."""

from __future__ import annotations

import http.client
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import sqrt

import pytest
from tests.gateway_process import GatewayProcess, free_port, gateway_process

from slipway._internal.commands.envoy import CanaryShare, Route
from slipway._internal.commands.gateway_options import GatewayOptions, MaintenanceOptions
from slipway._internal.model.routes import RouteSettings

DRAWN = 2000
SIGMAS = 7
"""How many standard deviations a share may be off: by chance it is once in 10^11 runs."""


@dataclass
class Version:
    """A service that answers every request with its version's name."""

    port: int = 0

    @property
    def upstream(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def version(name: str) -> Iterator[Version]:
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\nConnection: close\r\n\r\n{name}".encode()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer)

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 128
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Version(server.server_address[1])
        server.shutdown()


@dataclass
class Setting:
    """A gateway before two versions of one service."""

    process: GatewayProcess
    route: Route
    canary: str

    def serve(self, percent: int, options: GatewayOptions | None = None) -> None:
        """Give the canary a share; 0: no canary."""
        share = CanaryShare(self.canary, percent) if percent else None
        self.process.switch([replace(self.route, canary=share)], options or GatewayOptions())

    def draw(self, count: int, connection: http.client.HTTPConnection | None = None) -> Counter[str]:
        """Return how many requests of one kept connection each version answered."""
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.process.ports["http"], timeout=30)
        answers: Counter[str] = Counter()
        for _ in range(count):
            connection.request("GET", "/api/items")
            reply = connection.getresponse()
            body = reply.read().decode()
            answers[body if reply.status == 200 else f"{reply.status}"] += 1
        return answers


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with version("old") as old, version("new") as new, gateway_process() as process:
        route = Route("api", "/api", old.upstream, rules=RouteSettings(path="/api"))
        found = Setting(process, route, new.upstream)
        found.serve(0)
        yield found


@pytest.mark.parametrize("percent", [10, 50])
def test_a_canary_gets_its_percentage_of_requests(setting: Setting, percent: int) -> None:
    setting.serve(percent)
    answers = setting.draw(DRAWN)
    share = percent / 100
    bound = SIGMAS * sqrt(DRAWN * share * (1 - share))
    assert answers.keys() <= {"old", "new"}, answers
    assert abs(answers["new"] - DRAWN * share) < bound, (answers, bound)


def test_each_request_of_a_kept_connection_is_drawn_anew(setting: Setting) -> None:
    setting.serve(50)
    assert setting.draw(100).keys() == {"old", "new"}


def test_a_step_changes_the_routes_alone_and_keeps_connections(setting: Setting) -> None:
    setting.serve(10)
    before = dict(setting.process.files)
    connection = http.client.HTTPConnection("127.0.0.1", setting.process.ports["http"], timeout=30)
    setting.draw(20, connection)
    kept = connection.sock
    setting.serve(50)
    changed = {name for name, text in setting.process.files.items() if before[name] != text}
    assert changed == {"routes.json"}
    setting.draw(20, connection)
    assert connection.sock is kept


def test_without_a_canary_all_requests_go_to_the_stable_version_at_once(setting: Setting) -> None:
    setting.serve(90)
    setting.serve(0)
    assert setting.draw(300) == {"old": 300}


def test_a_canary_that_is_dead_costs_no_answer(setting: Setting) -> None:
    dead = replace(setting, canary=f"127.0.0.1:{free_port()}")
    dead.serve(50)
    assert dead.draw(300) == {"old": 300}


def test_a_canary_that_dies_costs_no_answer(setting: Setting) -> None:
    with version("dying") as dying:
        short = replace(setting, canary=dying.upstream)
        short.serve(50)
        assert short.draw(100).keys() == {"old", "dying"}
    assert short.draw(300).keys() == {"old"}


def test_maintenance_is_answered_in_place_of_both(setting: Setting) -> None:
    setting.serve(50, GatewayOptions(maintenance=MaintenanceOptions(services=("api",))))
    assert setting.draw(50) == {"503": 50}
