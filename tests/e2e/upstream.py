"""A service behind the gateway that does on request what services of all kinds do."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Upstream:
    """The service: its port, and what it waits for before it sends a stream's second event."""

    port: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)


@contextmanager
def upstream() -> Iterator[Upstream]:
    """Serve on loopback for the time of a `with`."""
    world = Upstream()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Service,), {"world": world}))
    server.daemon_threads = True
    world.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield world
    finally:
        world.go_on.set()
        server.shutdown()
        server.server_close()


class Service(BaseHTTPRequestHandler):
    """Answers by the last part of the path; `echo` tells what came."""

    protocol_version = "HTTP/1.1"
    world: Upstream

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        name = parts.path.rpartition("/")[2]
        work = getattr(self, f"answer_{name}", self.answer_echo)
        work(query)

    do_POST = do_PUT = do_HEAD = do_OPTIONS = do_GET

    def answer_echo(self, _query: dict[str, str]) -> None:
        told = {"line": self.requestline, "headers": self.headers.items(), "length": self.body()}
        self.say(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def answer_events(self, _query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"data: one\n\n")
        if self.world.go_on.wait(30):
            self.wfile.write(b"data: two\n\n")
        self.close_connection = True

    def answer_cookies(self, query: dict[str, str]) -> None:
        self.say(200, b"ok", {"Set-Cookie": f"x={'y' * int(query['size'])}"})

    def answer_late(self, query: dict[str, str]) -> None:
        time.sleep(float(query["seconds"]))
        self.say(200, b"late")

    def answer_status(self, query: dict[str, str]) -> None:
        self.say(int(query["code"]), b"the service's own words")

    def answer_early(self, _query: dict[str, str]) -> None:
        self.say(413, b"the service's own limit", {"Connection": "close"})
        self.close_connection = True

    def answer_zipped(self, _query: dict[str, str]) -> None:
        self.say(200, gzip.compress(b"zipped" * 1000), {"Content-Encoding": "gzip", "ETag": '"1"'})

    def answer_large(self, query: dict[str, str]) -> None:
        headers = {"Content-Type": query["type"]} if "type" in query else {}
        self.say(200, b"x" * int(query["size"]), headers)

    def answer_cut(self, _query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"half")
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def body(self) -> int:
        """Read the request's body and return its length; it is kept nowhere."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            length = 0
            while size := int(self.rfile.readline(), 16):
                length += len(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return length
        left = length = int(self.headers.get("Content-Length") or 0)
        while left:
            left -= len(self.rfile.read(min(left, 1 << 16)))
        return length

    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def log_message(self, *_words: object) -> None: ...
