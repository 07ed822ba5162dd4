"""A provider that does as its model's name says: it answers, is busy, breaks, is slow, or cuts its stream."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

INPUT, OUTPUT = 7, 5
"""The tokens that each answer says it has taken."""
USAGE = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}
WORDS = ["An ", "anchor ", "holds."]


class Provider(ThreadingHTTPServer):
    """The server: what it was asked, and how many requests each model had."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), _Handler)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.hung_up = False
        self.answer = "".join(WORDS)
        self.pieces = WORDS
        self.gate = threading.Event()
        self.gate.set()

    def handle_error(self, *_: Any) -> None:
        pass  # the gateway has gone, as it should

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def asked(self, model: str) -> int:
        return sum(request["model"] == model for request in self.requests)


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        self.server.keys.append(self.headers["Authorization"])
        self.server.gate.wait(10)
        model = request["model"]
        if model == "busy":
            self._send(429, {"error": {"message": "too many"}})
        elif model == "broken" or (model == "flaky" and self.server.asked("flaky") == 1):
            self._send(500, {"error": {"message": "broken"}})
        elif model == "picky":
            self._send(400, {"error": {"message": f"no such thing for {self.headers['Authorization']}"}})
        elif model == "locked":
            self._send(401, {"error": {"message": f"wrong key {self.headers['Authorization']}"}})
        elif self.path.endswith("/moderations"):
            time.sleep(3 if model == "slow" else 0)
            self._send(200, self._moderate(request))
        elif request.get("stream"):
            self._stream(request)
        else:
            time.sleep(3 if model == "slow" else 0)
            self._send(200, self._answer(request))

    def _moderate(self, request: dict[str, Any]) -> dict[str, Any]:
        """Flag a text with the word `mutiny`; some models say nothing that could be understood."""
        odd: dict[str, list[Any]] = {"empty": [], "odd": [{"flagged": "no", "categories": {}}]}
        if request["model"] in odd:
            return {"id": "1", "model": "m", "results": odd[request["model"]]}
        flagged = "mutiny" in request["input"]
        result = {"flagged": flagged, "categories": {"violence": flagged, "hate": False}, "category_scores": {}}
        return {"id": "1", "model": "m", "results": [result]}

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.path.endswith("/embeddings"):
            vectors = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
            return {"object": "list", "data": vectors, "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3}}
        if self.path.endswith("/chat/completions"):
            choice = {"index": 0, "message": {"role": "assistant", "content": self.server.answer}}
        else:
            choice = {"index": 0, "text": self.server.answer}
        choice["finish_reason"] = "stop"
        kind = "chat.completion" if "message" in choice else "text_completion"
        return {"id": "1", "object": kind, "created": 1, "model": "m", "choices": [choice], "usage": USAGE}

    def _stream(self, request: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        chat = self.path.endswith("/chat/completions")
        base = {"id": "1", "object": "chat.completion.chunk" if chat else "text_completion", "created": 1, "model": "m"}
        for number, word in enumerate(WORDS * 100 if request["model"] == "long" else self.server.pieces):
            if request["model"] == "stall" and number == 1:
                time.sleep(3)
            if request["model"] == "cut" and number == 2:
                self.wfile.write(b'data: {"id": "1", "object": "chat')  # the middle of a chunk
                return
            delta: dict[str, Any] = {"role": "assistant", "content": word}
            if request["model"] == "caller":
                function = {"arguments": word, **({} if number else {"name": "f"})}
                more = {} if number else {"id": "call-1", "type": "function"}
                delta = {"role": "assistant", "tool_calls": [{"index": 0, "function": function, **more}]}
            said = {"delta": delta} if chat else {"text": word}
            for choice in range(request.get("n", 1)):
                self._event({**base, "choices": [{"index": choice, "finish_reason": None, **said}]})
            time.sleep(0.05 if request["model"] == "long" else 0)
        ended = {"delta": {}} if chat else {"text": ""}
        for choice in range(request.get("n", 1)):
            self._event({**base, "choices": [{"index": choice, "finish_reason": "stop", **ended}]})
        if (request.get("stream_options") or {}).get("include_usage") and request["model"] != "silent":
            self._event({**base, "choices": [], "usage": USAGE})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, chunk: dict[str, Any]) -> None:
        try:
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        except OSError:
            self.server.hung_up = True
            raise

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serve() -> Iterator[Provider]:
    """Serve a provider, to the end of a `with`."""
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
