"""The gateway's real Envoy before a service that echoes, for tests of what becomes of requests."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.upstream import Upstream, upstream
from tests.envoy_program import envoy_program
from tests.gateway_process import GatewayProcess, gateway_process

from slipway._internal.commands.envoy import BOOTSTRAP, CLUSTERS, LIMITS, LISTENERS, ROUTES, Route, render_config
from slipway._internal.run.process import ProcessResult, run

WHOLE = "whole.json"
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

    process: GatewayProcess
    service: Upstream

    @property
    def port(self) -> int:
        return self.process.ports["http"]

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
        self.process.switch(routes)


@contextmanager
def running_envoy() -> Iterator[RunningEnvoy]:
    """Run Envoy for the time of a `with`; it gets its routes later, when the upstream's port is known."""
    with upstream() as service, gateway_process() as process:
        yield RunningEnvoy(process, service)


def validate(routes: Sequence[Route], folder: Path) -> ProcessResult:
    """Let Envoy judge a configuration."""
    write_whole(routes, folder)
    words = [envoy_program(), "--mode", "validate", "--config-path", folder / WHOLE]
    return run([*words, "--reject-unknown-dynamic-fields", "--disable-hot-restart"])


def write_whole(routes: Sequence[Route], folder: Path) -> None:
    """Write a configuration as one file that names no others: only of such a one Envoy judges all."""
    files = {name: json.loads(text) for name, text in render_config(routes).items()}
    listeners, clusters, [table] = (_untyped(files[name]["resources"]) for name in (LISTENERS, CLUSTERS, ROUTES))
    manager = listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["rds"]
    manager["route_config"] = table
    [limits] = files[LIMITS]["resources"]
    for each in manager["http_filters"]:
        if each.pop("config_discovery", None):
            each["typed_config"] = limits["typed_config"]
    whole = {**files[BOOTSTRAP], "static_resources": {"listeners": listeners, "clusters": clusters}}
    del whole["dynamic_resources"]
    (folder / WHOLE).write_text(json.dumps(whole))


def _untyped(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in each.items() if name != "@type"} for each in resources]
