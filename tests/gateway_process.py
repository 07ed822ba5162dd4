"""The gateway's real Envoy on loopback, without an engine: it takes up other options, secrets and routes as it runs."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.envoy_program import envoy_program

from slipway._internal.commands import envoy as commands
from slipway._internal.commands.envoy import GatewayOptions, Route, render_config
from slipway._internal.commands.envoy_listener import ADMIN_SOCKET, CONFIG_DIR, LISTEN_PORT
from slipway._internal.commands.envoy_metrics import METRICS_PORT
from slipway._internal.commands.envoy_tls import TLS_PORT
from slipway._internal.commands.gateway_options import DEFAULT_OPTIONS
from slipway._internal.model.containers import SECRETS_DIR
from slipway._internal.rollout import envoy

LISTENING = {"http": LISTEN_PORT, "https": TLS_PORT, "metrics": METRICS_PORT}
"""The ports that the gateway's container listens on."""


@dataclass
class GatewayProcess:
    """A running Envoy. Its ports are on 127.0.0.1, named as LISTENING has them."""

    folder: Path
    ports: dict[str, int]
    files: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def ask(
        self, path: str, host: str = "", method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Request a path in plain HTTP; return status, headers by lower-case name, and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=20)
        try:
            connection.request(method, path, headers={**({"Host": host} if host else {}), **(headers or {})})
            reply = connection.getresponse()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    def put(self, files: Mapping[str, str], secrets: Mapping[str, str] | None = None) -> None:
        """Put a configuration into an empty folder, for Envoy to start with."""
        self._put_secrets(secrets or {})
        for name, text in files.items():
            (self.folder / name).write_text(self.localized(text))
        self.files = dict(files)

    def switch(
        self,
        routes: Sequence[Route],
        options: GatewayOptions = DEFAULT_OPTIONS,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Move files into place, each once Envoy serves the one before, in the product's own order."""
        files = render_config(routes, options)
        self._put_secrets(secrets or {})
        plan = envoy.plan_switch(self.files, files)
        for name, text in plan.before.items():
            (self.folder / name).write_text(self.localized(text))
        for name, text in plan.steps:
            beside = self.folder / f"next.{name}"
            beside.write_text(self.localized(text))
            beside.replace(self.folder / name)
            self.wait(lambda name=name, text=text: self._serves(name, text))
        for name, text in plan.after.items():
            (self.folder / name).write_text(self.localized(text))
        self.files = dict(files)

    def _put_secrets(self, secrets: Mapping[str, str]) -> None:
        folder = self.folder / "secrets"
        folder.mkdir(exist_ok=True)
        for name, text in secrets.items():
            (folder / name).unlink(missing_ok=True)
            with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
                file.write(text)

    def _serves(self, name: str, text: str) -> bool:
        found = self.admin("/stats?filter=version_text|warming_clusters|update_rejected")
        assert ".update_rejected: 1" not in found, self.log[-3000:]
        return f'{envoy.WATCHED[name]}.version_text: "{commands.version_of(text)}"' in found

    def admin(self, path: str) -> str:
        """Ask Envoy itself."""
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(10)
            talk.connect(str(self.folder / "admin.sock"))
            talk.sendall(f"GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: talk.recv(65536), b"")).decode(errors="replace")

    def localized(self, text: str) -> str:
        """Return a file of the configuration as a process outside a container needs it."""
        text = text.replace(CONFIG_DIR, str(self.folder)).replace(SECRETS_DIR, str(self.folder / "secrets"))
        text = text.replace(ADMIN_SOCKET, str(self.folder / "admin.sock")).replace(
            '"address": "0.0.0.0"', '"address": "127.0.0.1"'
        )
        for name, port in LISTENING.items():
            text = re.sub(rf'"port_value": {port}(?=,?\n)', f'"port_value": {self.ports[name]}', text)
        return text

    def wait(self, done: Callable[[], bool], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                if done():
                    return
            except OSError:
                pass
            assert time.monotonic() < end, self.log[-3000:]
            time.sleep(0.02)


@contextmanager
def gateway_process(
    routes: Sequence[Route] = (),
    options: GatewayOptions = DEFAULT_OPTIONS,
    secrets: Mapping[str, str] | None = None,
    changed: tuple[str, str] = ("\0", ""),
) -> Iterator[GatewayProcess]:
    """Run Envoy for the time of a `with`; `changed` replaces one text of the configuration by another."""
    with tempfile.TemporaryDirectory(prefix="envoy-") as name:  # short, for the socket's path
        found = GatewayProcess(Path(name), {each: free_port() for each in LISTENING})
        found.put({name: text.replace(*changed) for name, text in render_config(routes, options).items()}, secrets)
        words = [str(envoy_program()), *(found.localized(word) for word in envoy.start_command()[3:])]
        with (found.folder / "log").open("wb") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            found.wait(lambda: found.ask("/.slipway/health")[0] == 200)
            yield found
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
