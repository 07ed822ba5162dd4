"""The logs of services are followed while they run, each line once and with its service's name."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from slipway._internal.dev import log_follower
from slipway._internal.dev.log_follower import LogFollower
from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import engine


class Container:
    """A container that prints, crashes, is started again by the engine, prints once more and ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lives = [["one", "two"], ["three"]]
        self.tails: list[int | None] = []
        self.gone = threading.Event()
        self.begun = 0
        monkeypatch.setattr(engine, "read_logs", self.read)
        monkeypatch.setattr(engine, "is_running", lambda _id: bool(self.lives))
        monkeypatch.setattr(log_follower, "RESTART_WAIT_SECONDS", 0.0)

    def read(self, _container: str, *, tail: int | None, follow: bool) -> Iterator[str]:
        assert follow
        self.tails.append(tail)
        yield from self.lives.pop(0)


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> Container:
    return Container(monkeypatch)


def end_threads(before: set[threading.Thread]) -> None:
    for thread in set(threading.enumerate()) - before:
        thread.join(10)


def test_a_crash_does_not_end_it_and_no_line_is_told_twice(container: Container) -> None:
    lines: list[tuple[str, str]] = []
    before = set(threading.enumerate())
    LogFollower(lambda service, line: lines.append((service, line))).follow("api", "c1", tail=5)
    end_threads(before)
    assert lines == [("api", "one"), ("api", "two"), ("api", "three")]
    assert container.tails == [5, 0]


def test_one_container_is_followed_once(container: Container) -> None:
    lines: list[str] = []
    before = set(threading.enumerate())
    blocked = threading.Event()

    def on_line(_service: str, line: str) -> None:
        blocked.wait(10)
        lines.append(line)

    follower = LogFollower(on_line)
    follower.follow("api", "c1")
    follower.follow("api", "c1")
    blocked.set()
    end_threads(before)
    assert lines == ["one", "two", "three"]


def test_after_its_end_nothing_is_told(container: Container) -> None:
    lines: list[str] = []
    before = set(threading.enumerate())
    follower = LogFollower(lambda _service, line: lines.append(line) or follower.stop())  # type: ignore[func-returns-value]
    follower.follow("api", "c1")
    end_threads(before)
    assert lines == ["one"]


def test_an_engine_that_goes_ends_it_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> Iterator[str]:
        raise SlipwayError("the engine is silent")

    monkeypatch.setattr(engine, "read_logs", fail)
    lines: list[str] = []
    before = set(threading.enumerate())
    LogFollower(lambda _service, line: lines.append(line)).follow("api", "c1")
    end_threads(before)
    assert lines == []
