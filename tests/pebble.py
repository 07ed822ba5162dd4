"""Pebble, the authority that Let's Encrypt makes for tests: a real ACME server on loopback, and its view of names."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.certificates import Issued
from tests.gateway_process import free_port

from slipway._internal.run.process import run
from slipway._internal.toolchain.locking import file_lock

VERSION = "v2.10.3"


def pebble_program() -> Path:
    """Return the program; the first time, Go builds it, and its checksum database vouches for what is built."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway-tests" / "pebble" / VERSION
    program = folder / "pebble"
    with file_lock(folder.parent / "lock", lambda: None):
        if not program.exists():
            words = ["go", "install", f"github.com/letsencrypt/pebble/v2/cmd/pebble@{VERSION}"]
            built = run(words, env={**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": ""})
            assert built.code == 0, built.output
    return program


@dataclass
class Pebble:
    """A running authority.

    Attributes:
        directory: the address of its directory.
        ca_file: what to trust when it is asked.
        names: the addresses of hosts; of all others it is 127.0.0.1.
        log: what it has written.
    """

    directory: str
    ca_file: Path
    log: Path
    management: str
    names: dict[str, str] = field(default_factory=dict)

    def root(self) -> str:
        """Return the certificate of who issues, PEM: clients of what it issues trust it."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(f"{self.management}/roots/0", context=context, timeout=20) as reply:
            return str(reply.read().decode())

    def orders(self) -> int:
        """Return how many orders it was asked for."""
        return self.log.read_text(errors="replace").count("POST /order-plz")


@contextmanager
def pebble(
    folder: Path,
    http_port: int,
    served: Issued,
    ca_file: Path,
    *,
    days: float = 90,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Pebble]:
    """Run the authority for the time of a `with`; it looks for challenges at a port of 127.0.0.1.

    Args:
        folder: an empty one.
        http_port: where it looks.
        served: its own certificate, for localhost.
        ca_file: what to trust for that.
        days: for how long its certificates are valid.
        environment: settings of its own: PEBBLE_WFE_NONCEREJECT, …
    """
    (folder / "pebble.crt").write_text(served.chain)
    (folder / "pebble.key").write_text(served.key)
    port, management = free_port(), free_port()
    settings = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(folder / "pebble.crt"),
        "privateKey": str(folder / "pebble.key"),
        "httpPort": http_port,
        "tlsPort": free_port(),
        "domainBlocklist": ["blocked.example.com"],
        "retryAfter": {"authz": 1, "order": 1},
        "profiles": {"default": {"description": "", "validityPeriod": int(days * 86400)}},
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    found = Pebble(f"https://localhost:{port}/dir", ca_file, folder / "pebble.log", f"https://localhost:{management}")
    with _name_server(found.names) as names, found.log.open("wb") as log:
        words = [str(pebble_program()), "-strict", "-config", str(folder / "pebble.json"), "-dnsserver", names]
        always = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
        process = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, **always, **(environment or {})})
        try:
            _wait_for(port, found.log)
            yield found
        finally:
            process.kill()
            process.wait()


def _wait_for(port: int, log: Path) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            assert time.monotonic() < end, log.read_text(errors="replace")
            time.sleep(0.05)
        else:
            return


@contextmanager
def _name_server(names: Mapping[str, str]) -> Iterator[str]:
    """Answer for all names by TCP (RFC 1035, 4.2.2), as Pebble asks, for the time of a `with`; yield where."""

    class Asked(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while length := self.rfile.read(2):
                answer = _dns_answer(self.rfile.read(int.from_bytes(length, "big")), names)
                self.wfile.write(len(answer).to_bytes(2, "big") + answer)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Asked)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _dns_answer(asked: bytes, names: Mapping[str, str]) -> bytes:
    labels, at = [], 12
    while asked[at]:
        labels.append(asked[at + 1 : at + 1 + asked[at]].decode())
        at += 1 + asked[at]
    question = asked[12 : at + 5]
    kind = struct.unpack("!H", question[-4:-2])[0]
    address = names.get(".".join(labels).lower(), "127.0.0.1")
    record = b""
    if kind == 1:  # A; of all else there is nothing
        record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04" + socket.inet_aton(address)
    return asked[:2] + struct.pack("!HHHHH", 0x8180, 1, bool(record), 0, 0) + question + record
