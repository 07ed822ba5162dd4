"""The worker reads what the API sends, and outlives an API that is down."""

from __future__ import annotations

import os
from pathlib import Path

import httpx2

from app.heartbeat import age, beat
from app.work import take_stock

API = "http://gateway:8080/api"


def answering(status: int, body: object) -> httpx2.MockTransport:
    return httpx2.MockTransport(lambda request: httpx2.Response(status, json=body))


def test_it_adds_up_what_is_in_stock() -> None:
    items = [{"id": 1, "name": "anchor", "stock": 12}, {"id": 2, "name": "cable", "stock": 30}]
    assert take_stock(API, answering(200, items)) == 42


def test_an_api_that_is_down_is_no_reason_to_end() -> None:
    assert take_stock(API, answering(502, {})) is None


def test_an_answer_that_makes_no_sense_is_no_reason_to_end() -> None:
    for body in (["nothing"], {"items": 3}, 5):
        assert take_stock(API, answering(200, body)) is None


def test_the_heartbeat_tells_how_long_ago_the_last_turn_was(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    assert age(file) == float("inf")
    beat(file)
    assert age(file) < 5
    os.utime(file, (0, 0))
    assert age(file) > 1000
