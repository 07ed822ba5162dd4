"""The gateway's real Envoy as a program on loopback, without an engine: started for the time of a test file."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.upstream import Upstream, upstream
from tests.envoy_program import envoy_program

from slipway._internal.commands import envoy
from slipway._internal.commands.envoy import (
    BOOTSTRAP,
    CLUSTERS,
    LISTEN_PORT,
    LISTENERS,
    ROUTES,
    Route,
    render_config,
    render_transition,
)
from slipway._internal.commands.envoy_listener import ADMIN_SOCKET, CONFIG_DIR
from slipway._internal.rollout.envoy import start_command
from slipway._internal.run.process import ProcessResult, run

ANYWHERE = "127.0.0.2"
"""Another address of this machine than the one that requests come from by default."""


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RunningEnvoy:
    """A gateway before an upstream that echoes; `serve` gives it other routes."""

    port: int
    folder: Path
    service: Upstream
    log_file: Path
    routes: list[Route] = field(default_factory=list)

    @property
    def upstream(self) -> str:
        return f"127.0.0.1:{self.service.port}"

    def ask(self, path: str, method: str = "GET", body: Any = None, *, source: str = "", **headers: str) -> Answer:
        """Request a path, from an address of this machine; `__` in a header's name is a dash."""
        connection = self.connect(source)
        named = {name.replace("__", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=named)
        reply = connection.getresponse()
        found = Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        connection.close()
        return found

    def connect(self, source: str = "") -> http.client.HTTPConnection:
        address = (source, 0) if source else None
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=address)

    def serve(self, routes: Sequence[Route]) -> None:
        """Switch to other routes, as the product does, and wait until they are served."""
        files = render_config(routes)
        self._put(CLUSTERS, render_transition(self.routes, routes), "cluster_manager.cds")
        self._put(ROUTES, files[ROUTES], f"http.gateway.rds.{envoy.ROUTE_TABLE}")
        self.routes = list(routes)

    def _put(self, name: str, text: str, stat: str) -> None:
        """Move a file into its place, and wait until Envoy serves it."""
        before = self.stats(f"{stat}.update_rejected")
        beside = self.folder / f"next.{name}"
        beside.write_text(localized(text, self.folder, self.port))
        beside.replace(self.folder / name)
        version = envoy.version_of(text)

        def is_served() -> bool:
            stats = self.stats(f"{stat}.version_text|warming_clusters")
            return f'"{version}"' in stats and "warming_clusters: 0" in stats

        self.wait(lambda: is_served() or self.stats(f"{stat}.update_rejected") != before)
        assert self.stats(f"{stat}.update_rejected") == before, self.log_file.read_text()[-3000:]

    def stats(self, pattern: str) -> str:
        """Return Envoy's statistics whose names match."""
        with socket.socket(socket.AF_UNIX) as talk:
            talk.connect(str(self.folder / "admin.sock"))
            talk.sendall(f"GET /stats?filter={pattern} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            _, _, body = b"".join(iter(lambda: talk.recv(65536), b"")).partition(b"\r\n\r\n")
            return body.decode()

    def wait(self, done: Any, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if done():
                    return
            except OSError:
                pass
            assert time.monotonic() < deadline, self.log_file.read_text()[-3000:]
            time.sleep(0.02)


def localized(text: str, folder: Path, port: int) -> str:
    """Return a file of the configuration for a program on this machine in place of a container."""
    here = text.replace(f'"port_value": {LISTEN_PORT}', f'"port_value": {port}').replace(
        '"address": "0.0.0.0"', '"address": "127.0.0.1"'
    )
    return here.replace(CONFIG_DIR, str(folder)).replace(ADMIN_SOCKET, str(folder / "admin.sock"))


@contextmanager
def running_envoy(routes: Sequence[Route] = ()) -> Iterator[RunningEnvoy]:
    """Run Envoy for the time of a `with`; routes may be given later, when the upstream's port is known."""
    # A socket's path is short, so the folder is not pytest's.
    with tempfile.TemporaryDirectory(prefix="envoy-") as name, upstream() as service:
        folder = Path(name)
        gateway = RunningEnvoy(_free_port(), folder, service, folder / "log")
        for file, text in render_config(routes).items():
            (folder / file).write_text(localized(text, folder, gateway.port))
        words = [str(envoy_program()), *start_command()[3:]]
        words = [word.replace(CONFIG_DIR, name) for word in words]
        with gateway.log_file.open("wb") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            gateway.wait(lambda: gateway.ask("/.slipway/health").status == 200)
            yield gateway
        finally:
            process.kill()
            process.wait()


def validate(routes: Sequence[Route], folder: Path) -> ProcessResult:
    """Let Envoy judge a configuration as a whole, which it does only of one that names no other files."""
    files = {name: json.loads(text) for name, text in render_config(routes).items()}
    listeners, clusters, [table] = (_untyped(files[name]["resources"]) for name in (LISTENERS, CLUSTERS, ROUTES))
    manager = listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["rds"]
    manager["route_config"] = table
    whole = {**files[BOOTSTRAP], "static_resources": {"listeners": listeners, "clusters": clusters}}
    del whole["dynamic_resources"]
    (folder / "whole.json").write_text(json.dumps(whole))
    words = [envoy_program(), "--mode", "validate", "--config-path", folder / "whole.json"]
    return run([*words, "--reject-unknown-dynamic-fields", "--disable-hot-restart"])


def _untyped(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in each.items() if name != "@type"} for each in resources]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
