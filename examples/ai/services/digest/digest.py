"""A service that summarises texts through a prompt of the gateway for language models."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROUTE = os.environ.get("ROUTE", "")
PROMPT = "summarize"
KEY_FILE = Path("/run/secrets/AI_KEY")
MOST_BYTES = 20_000


def summarise(text: str) -> tuple[int, dict[str, Any]]:
    """Return a status and an answer: the summary, or what the gateway said against it."""
    body = json.dumps({"variables": {"text": text}}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY_FILE.read_text().strip()}"}
    request = urllib.request.Request(f"{os.environ['AI_URL']}/prompts/{PROMPT}", body, headers)  # noqa: S310  the platform names it
    try:
        with urllib.request.urlopen(request, timeout=170) as answer:  # noqa: S310
            found, cost = json.load(answer), float(answer.headers["X-AI-Cost"])
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    return 200, {"summary": found["output"], "prompt": f"{PROMPT}@{found['version']}", "cost": cost}


class Handler(BaseHTTPRequestHandler):
    """Answers POST /digest, and says that it is well."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer the health check, and say what to send."""
        self._send(200, {"status": "ok"} if self.path.endswith("/health") else {"send": f"POST {ROUTE}: a text"})

    def do_POST(self) -> None:
        """Summarise the text."""
        size = int(self.headers.get("Content-Length") or 0)
        if size > MOST_BYTES:
            self.close_connection = True
            return self._send(413, {"error": f"a text may have {MOST_BYTES} bytes"})
        try:
            text = str(json.loads(self.rfile.read(size))["text"])
        except (ValueError, KeyError, TypeError):
            return self._send(400, {"error": 'send {"text": "…"}'})
        try:
            return self._send(*summarise(text))
        except (OSError, ValueError):
            return self._send(502, {"error": "the gateway for language models does not answer"})

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Log nothing: the gateway does."""


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    address = ("0.0.0.0", int(os.environ["PORT"]))  # noqa: S104  the container's own network
    ThreadingHTTPServer(address, Handler).serve_forever()
