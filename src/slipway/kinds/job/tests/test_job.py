"""The job ends, and its status says how it went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx2
import pytest

from app.report import PAUSES_SECONDS, StockError, read_stock, report

API = "http://gateway:8080/api"
ITEMS = [{"id": 1, "name": "anchor", "stock": 12}, {"id": 2, "name": "compass", "stock": 7}]


def answering(status: int, body: object) -> httpx2.MockTransport:
    return httpx2.MockTransport(lambda request: httpx2.Response(status, json=body))


def test_it_adds_up_what_is_in_stock_and_names_what_runs_low() -> None:
    assert report(API, low=10, transport=answering(200, ITEMS)) == {"items": 2, "pieces": 19, "low": ["compass"]}


def test_an_api_that_is_being_deployed_is_asked_again() -> None:
    answers = [httpx2.Response(502), httpx2.Response(200, json=ITEMS)]
    waited: list[float] = []
    transport = httpx2.MockTransport(lambda request: answers.pop(0))
    assert len(read_stock(API, transport=transport, wait=waited.append)) == 2
    assert waited == [PAUSES_SECONDS[0]]


def test_an_api_that_stays_down_ends_the_tries() -> None:
    waited: list[float] = []
    with pytest.raises(StockError, match="502"):
        read_stock(API, transport=answering(502, {}), wait=waited.append)
    assert waited == list(PAUSES_SECONDS)


def test_an_answer_that_makes_no_sense_is_not_asked_for_again() -> None:
    for body in (["nothing"], {"items": 3}, 5):
        with pytest.raises(StockError):
            read_stock(API, transport=answering(200, body), wait=lambda seconds: pytest.fail("it asked again"))


class Handler(BaseHTTPRequestHandler):
    """An API that answers what its server holds; it never does where that is nothing."""

    body = b"[]"
    asked = threading.Event()
    over = threading.Event()

    def do_GET(self) -> None:
        self.asked.set()
        if not self.body:
            self.over.wait()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *words: object) -> None:
        pass


def start(url: str) -> subprocess.Popen[str]:
    path = os.pathsep.join(folder for folder in sys.path if folder)
    return subprocess.Popen(
        [sys.executable, "-m", "app"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "API_URL": url, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("body", "status", "said"), [(b"[]", 0, "reported"), (b"5", 1, "no report")])
def test_its_status_says_how_it_went(body: bytes, status: int, said: str) -> None:
    with HTTPServer(("127.0.0.1", 0), type("Answering", (Handler,), {"body": body})) as server:
        threading.Thread(target=server.handle_request).start()
        job = start(f"http://127.0.0.1:{server.server_port}")
        output, _ = job.communicate(timeout=30)
    assert (job.returncode, said in output) == (status, True)


def test_told_to_stop_it_ends_at_once_and_not_as_a_success() -> None:
    silent = type("Silent", (Handler,), {"body": b"", "asked": threading.Event(), "over": threading.Event()})
    with HTTPServer(("127.0.0.1", 0), silent) as server:
        threading.Thread(target=server.handle_request).start()
        job = start(f"http://127.0.0.1:{server.server_port}")
        assert silent.asked.wait(30)
        job.send_signal(signal.SIGTERM)
        job.communicate(timeout=4)
        silent.over.set()
    assert job.returncode == 128 + signal.SIGTERM
