"""The gateway's configuration in a real Envoy, without Docker, before a service of the tests' own."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.upstream import Upstream, upstream
from tests.gateway_process import GatewayProcess, gateway_process

from slipway._internal.commands.envoy import GatewayOptions, Route, render_config


@dataclass
class RealGateway:
    """A running Envoy and the service behind it."""

    process: GatewayProcess
    service: Upstream

    @property
    def port(self) -> int:
        return self.process.ports["http"]

    @property
    def folder(self) -> Path:
        return self.process.folder

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
            (self.folder / f"next.{name}").write_text(self.process.localized(text).replace(*changed))
            (self.folder / f"next.{name}").rename(self.folder / name)

    def log(self) -> str:
        return self.process.log


@contextmanager
def real_gateway(
    routes: Sequence[Route], options: GatewayOptions, service: Upstream, changed: tuple[str, str] = ("\0", "")
) -> Iterator[RealGateway]:
    """Run Envoy with a configuration for the time of a `with`."""
    with gateway_process(routes, options, changed=changed) as process:
        yield RealGateway(process, service)


__all__ = ["RealGateway", "real_gateway", "upstream"]
