"""Waiting for health, with an engine that only acts."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from slipway.provider import health
from slipway.provider.health import Unhealthy
from slipway.provider.kind import Cancelled, Stop
from slipway.run import engine
from slipway.run.engine import Probe

UP = {"Running": True, "Restarting": False}
DOWN = {"Running": False, "Restarting": False, "ExitCode": 3, "OOMKilled": False, "Error": ""}


class Acting:
    """A container whose states come one after the other; the last one stays."""

    id = "abc"

    def __init__(self, *states: dict[str, Any]) -> None:
        self._states = list(states)
        self.attrs: dict[str, Any] = {}
        self.networks: dict[str, Any] = {}

    def reload(self) -> None:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        self.attrs = {"State": state, "NetworkSettings": {"Networks": self.networks}}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Probe]:
    """What the health check says, one after the other; the last one stays."""
    said: list[Probe] = []
    monkeypatch.setattr(engine, "probe", lambda *_: said.pop(0) if len(said) > 1 else said[0])
    monkeypatch.setattr(health, "PAUSE", 0.001)
    return said


def test_it_returns_as_soon_as_the_check_succeeds(answers: list[Probe]) -> None:
    answers += [Probe(False, "not yet"), Probe(False, "not yet"), Probe(True, "")]
    health.wait(Acting(UP), ["check"], 60, Stop())
    assert answers == [Probe(True, "")]


def test_a_container_that_ends_fails_at_once_and_says_how(answers: list[Probe]) -> None:
    answers += [Probe(False, "refused")]
    with pytest.raises(Unhealthy, match="it ended with exit code 3") as caught:
        health.wait(Acting(UP, DOWN), ["check"], 60, Stop())
    assert "refused" in caught.value.detail


def test_memory_is_named_when_it_was_the_cause() -> None:
    with pytest.raises(Unhealthy, match="ran out of the memory"):
        health.wait(Acting({**DOWN, "OOMKilled": True}), ["check"], 60, Stop())


def test_the_time_is_bounded_and_the_last_words_are_told(answers: list[Probe]) -> None:
    answers += [Probe(False, "no database")]
    with pytest.raises(Unhealthy, match="within 0 s") as caught:
        health.wait(Acting(UP), ["check"], 0.05, Stop())
    assert caught.value.detail == "health check: no database"


def test_without_a_check_it_must_only_stay_up(monkeypatch: pytest.MonkeyPatch, answers: list[Probe]) -> None:
    monkeypatch.setattr(health, "SETTLE", 0.05)
    health.wait(Acting(UP), [], 60, Stop())
    with pytest.raises(Unhealthy):
        health.wait(Acting(UP, UP, DOWN), [], 60, Stop())


def test_an_interrupt_ends_the_waiting(answers: list[Probe]) -> None:
    answers += [Probe(False, "")]
    stop = Stop()
    stop.set()
    with pytest.raises(Cancelled):
        health.wait(Acting(UP), ["check"], 60, stop)


def test_work_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "execute", lambda *_: time.sleep(5))
    probe = engine.probe("abc", ["check"], 0.05)
    assert not probe.ok
    assert "no answer" in probe.output


@pytest.mark.parametrize("open_port", [True, False])
def test_the_first_check_waits_a_moment_for_the_port(
    monkeypatch: pytest.MonkeyPatch, answers: list[Probe], open_port: bool
) -> None:
    """An open port ends the waiting; one that stays closed only delays the check."""
    answers += [Probe(True, "")]
    monkeypatch.setattr(engine, "address", lambda: "unix:///var/run/docker.sock")
    monkeypatch.setattr(health, "REFUSED", 0.05 if not open_port else 60)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if open_port:
            server.listen()
        container = Acting(UP)
        container.networks = {"n": {"IPAddress": "127.0.0.1"}}
        health.wait(container, ["check"], 60, Stop(), server.getsockname()[1])
