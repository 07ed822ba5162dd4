"""The gateway's configuration in a real Envoy, without Docker, before a service of the tests' own."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.upstream import Upstream, upstream
from tests.envoy_program import envoy_program

from slipway._internal.commands.envoy import LISTEN_PORT, GatewayOptions, Route, render_config
from slipway._internal.commands.envoy_listener import ADMIN_SOCKET, CONFIG_DIR


@dataclass
class RealGateway:
    """A running Envoy: its port, its folder, and the service behind it."""

    port: int
    folder: Path
    service: Upstream

    def ask(self, path: str, *headers: tuple[str, str], method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """Send a request with these headers, in this order; return status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest(method, path)
        for name, value in headers:
            connection.putheader(name, value.encode("latin-1") if isinstance(value, str) else value)
        connection.endheaders()
        reply = connection.getresponse()
        body = reply.read()
        connection.close()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, body

    def status(self, path: str, *headers: tuple[str, str]) -> int:
        return self.ask(path, *headers)[0]

    def seen(self, path: str, *headers: tuple[str, str]) -> list[tuple[str, str]]:
        """Return the headers that the service was sent."""
        status, _, body = self.ask(path, *headers)
        assert status == 200, (status, body)
        return [(name.lower(), value) for name, value in json.loads(body)["headers"]]

    def write(self, routes: Sequence[Route], options: GatewayOptions, changed: tuple[str, str] = ("\0", "")) -> None:
        """Move a configuration into place, as the gateway's own helper does; `changed` replaces one text by another."""
        for name, text in render_config(routes, options).items():
            here = text.replace(f'"port_value": {LISTEN_PORT}', f'"port_value": {self.port}')
            here = here.replace("0.0.0.0", "127.0.0.1").replace(CONFIG_DIR, str(self.folder))
            here = here.replace(ADMIN_SOCKET, str(self.folder / "admin.sock")).replace(*changed)
            (self.folder / f"next.{name}").write_text(here)
            (self.folder / f"next.{name}").rename(self.folder / name)

    def log(self) -> str:
        return (self.folder / "log").read_text()


@contextmanager
def real_gateway(
    folder: Path,
    routes: Sequence[Route],
    options: GatewayOptions,
    service: Upstream,
    changed: tuple[str, str] = ("\0", ""),
) -> Iterator[RealGateway]:
    """Run Envoy with a configuration for the time of a `with`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    gateway = RealGateway(port, folder, service)
    gateway.write(routes, options, changed)
    words: list[Any] = [envoy_program(), "-c", folder / "bootstrap.json", "--concurrency", "1", "--disable-hot-restart"]
    words += ["--reject-unknown-dynamic-fields", "--log-level", "warning", "--log-format-escaped"]
    words += ["--file-flush-interval-msec", "50"]
    with (folder / "log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as envoy:
        try:
            deadline = time.monotonic() + 20
            while True:
                assert envoy.poll() is None and time.monotonic() < deadline, gateway.log()
                with suppress(OSError, http.client.HTTPException):
                    if gateway.status("/.slipway/health") == 200:
                        break
                time.sleep(0.05)
            yield gateway
        finally:
            envoy.terminate()


__all__ = ["RealGateway", "real_gateway", "upstream"]
