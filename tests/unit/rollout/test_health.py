"""Waiting for health, with a scripted engine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from slipway._internal.content.healthcheck import Healthcheck
from slipway._internal.rollout import health, reachability
from slipway._internal.rollout.cancellation import CancellationToken, Cancelled
from slipway._internal.rollout.health import Unhealthy
from slipway._internal.rollout.reachability import ContainerAddress
from slipway._internal.run import engine
from slipway._internal.run.engine import ProbeResult

UP = {"Running": True, "Restarting": False}
DOWN = {"Running": False, "Restarting": False, "ExitCode": 3, "OOMKilled": False, "Error": ""}
CHECK, NONE = Healthcheck(("check",)), Healthcheck(())


class ScriptedContainer:
    """A container with scripted states; the last one repeats."""

    id, name = "abc", "demo-dev-api-1"

    def __init__(self, *states: dict[str, Any]) -> None:
        self._states = list(states)
        self.attrs: dict[str, Any] = {}
        self.networks: dict[str, Any] = {}

    def reload(self) -> None:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        self.attrs = {"State": state, "NetworkSettings": {"Networks": self.networks}}


def container_on_loopback() -> ScriptedContainer:
    """A running container whose address is this machine's loopback."""
    container = ScriptedContainer(UP)
    container.networks = {"demo-dev": {"IPAddress": "127.0.0.1", "Gateway": "127.0.0.1"}}
    return container


@pytest.fixture
def scripted_checks(monkeypatch: pytest.MonkeyPatch) -> list[ProbeResult]:
    """Scripted results of the health check; the last one repeats."""
    said: list[ProbeResult] = []
    monkeypatch.setattr(engine, "probe", lambda *_: said.pop(0) if len(said) > 1 else said[0])
    monkeypatch.setattr(health, "POLL_SECONDS", 0.001)
    return said


@pytest.fixture
def local_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put this machine on the network, with short waits."""
    monkeypatch.setattr(ContainerAddress, "is_local", True)
    monkeypatch.setattr(health, "LOOPBACK_SECONDS", 0.01)
    monkeypatch.setattr(health, "REFUSED_SECONDS", 0.01)
    monkeypatch.setattr(health, "SETTLE_SECONDS", 0.01)


def test_it_returns_as_soon_as_the_check_succeeds(scripted_checks: list[ProbeResult]) -> None:
    scripted_checks += [ProbeResult(False, "not yet"), ProbeResult(False, "not yet"), ProbeResult(True, "")]
    health.wait_until_healthy(ScriptedContainer(UP), CHECK, None, CancellationToken())
    assert scripted_checks == [ProbeResult(True, "")]


def test_a_container_that_ends_fails_at_once_and_says_how(scripted_checks: list[ProbeResult]) -> None:
    scripted_checks += [ProbeResult(False, "refused")]
    with pytest.raises(Unhealthy, match="it ended with exit code 3") as caught:
        health.wait_until_healthy(ScriptedContainer(UP, DOWN), CHECK, None, CancellationToken())
    assert "refused" in caught.value.detail


def test_memory_is_named_when_it_was_the_cause() -> None:
    with pytest.raises(Unhealthy, match="exceeded its memory limit"):
        health.wait_until_healthy(ScriptedContainer({**DOWN, "OOMKilled": True}), CHECK, None, CancellationToken())


def test_the_time_is_bounded_and_the_last_words_are_told_with_the_key_that_gives_more(
    scripted_checks: list[ProbeResult],
) -> None:
    scripted_checks += [ProbeResult(False, "no database")]
    with pytest.raises(Unhealthy, match="within 0 s") as caught:
        health.wait_until_healthy(ScriptedContainer(UP), CHECK, 0.05, CancellationToken())
    assert caught.value.detail == "health check: no database"
    assert "`start-timeout`" in caught.value.remedy


def test_within_the_checks_start_period_failures_do_not_count(scripted_checks: list[ProbeResult]) -> None:
    """However little service.toml gives it."""
    scripted_checks += [*[ProbeResult(False, "not yet")] * 20, ProbeResult(True, "")]
    check = Healthcheck(("check",), start_period=60)
    health.wait_until_healthy(ScriptedContainer(UP), check, 0.001, CancellationToken())
    assert scripted_checks == [ProbeResult(True, "")], "all that failed were asked for"


def test_a_check_may_take_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "timeout_factor", lambda: 1)
    given: list[float] = []
    monkeypatch.setattr(engine, "probe", lambda _id, _command, seconds: given.append(seconds) or ProbeResult(True, ""))
    health.wait_until_healthy(ScriptedContainer(UP), Healthcheck(("check",), timeout=3), None, CancellationToken())
    health.wait_until_healthy(ScriptedContainer(UP), Healthcheck(("check",), timeout=300), 5, CancellationToken())
    assert given[0] == 3 and 4 < given[1] <= 5


@pytest.mark.parametrize(
    ("address", "load", "times"),
    [
        ("unix:///var/run/docker.sock", 0.5, 1),
        ("unix:///var/run/docker.sock", 6, 3),
        ("unix:///var/run/docker.sock", 600, 5),
        ("ssh://far", 600, 1),
    ],
)
def test_an_overloaded_machine_is_given_more_time_for_each_check(
    monkeypatch: pytest.MonkeyPatch, address: str, load: float, times: float
) -> None:
    monkeypatch.setattr(engine, "address", lambda: address)
    monkeypatch.setattr(health.os, "getloadavg", lambda: (load, 0, 0))
    monkeypatch.setattr(health.os, "cpu_count", lambda: 2)
    assert health.timeout_factor() == times


def test_checks_are_as_far_apart_as_the_start_interval_says(scripted_checks: list[ProbeResult]) -> None:
    pauses: list[float] = []

    class RecordingToken(CancellationToken):
        def sleep(self, seconds: float) -> None:
            pauses.append(seconds)

    scripted_checks += [ProbeResult(False, ""), ProbeResult(True, "")]
    health.wait_until_healthy(ScriptedContainer(UP), Healthcheck(("check",), start_interval=7), None, RecordingToken())
    assert pauses == [7]


def test_without_a_check_it_must_only_stay_up(
    monkeypatch: pytest.MonkeyPatch, scripted_checks: list[ProbeResult]
) -> None:
    monkeypatch.setattr(health, "SETTLE_SECONDS", 0.05)
    health.wait_until_healthy(ScriptedContainer(UP), NONE, None, CancellationToken())
    with pytest.raises(Unhealthy):
        health.wait_until_healthy(ScriptedContainer(UP, UP, DOWN), NONE, None, CancellationToken())


def test_an_interrupt_ends_the_waiting(scripted_checks: list[ProbeResult]) -> None:
    scripted_checks += [ProbeResult(False, "")]
    stop = CancellationToken()
    stop.cancel()
    with pytest.raises(Cancelled):
        health.wait_until_healthy(ScriptedContainer(UP), CHECK, None, stop)


def test_work_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "exec_command", lambda *_: time.sleep(5))
    probe = engine.probe("abc", ["check"], 0.05)
    assert not probe.ok
    assert "did not answer" in probe.output


@pytest.mark.parametrize("check", [CHECK, NONE])
def test_a_container_whose_port_answers_on_its_network_may_take_over(
    local_engine: None, scripted_checks: list[ProbeResult], check: Healthcheck
) -> None:
    scripted_checks += [ProbeResult(True, "")]
    with socket.create_server(("127.0.0.1", 0)) as server:
        health.wait_until_healthy(container_on_loopback(), check, 5, CancellationToken(), server.getsockname()[1])
        server.settimeout(60)
        assert server.accept(), "the port was tried"


@pytest.mark.parametrize("check", [CHECK, NONE])
@pytest.mark.parametrize(
    ("listens", "says", "remedy"),
    [
        ([("127.0.0.1", 1)], "it listens on 127.0.0.1:1, not on 0.0.0.0:1", "Make it listen on 0.0.0.0:1: a loop"),
        ([("::1", 1)], "it listens on [::1]:1, not on 0.0.0.0:1", "Make it listen on 0.0.0.0:1: a loop"),
        ([("0.0.0.0", 9)], "it listens on 0.0.0.0:9", "Set `port` in its service.toml to 9, or make it listen on 1"),
        ([], "", "Make it listen on 0.0.0.0, port 1"),
    ],
)
def test_a_healthy_container_that_cannot_be_reached_fails_and_what_it_listens_on_is_told(
    monkeypatch: pytest.MonkeyPatch,
    local_engine: None,
    scripted_checks: list[ProbeResult],
    check: Healthcheck,
    listens: list[tuple[str, int]],
    says: str,
    remedy: str,
) -> None:
    scripted_checks += [ProbeResult(True, "")]
    monkeypatch.setattr(reachability, "find_listeners", lambda *_: listens)
    monkeypatch.setattr(ContainerAddress, "probe_port", lambda *_: "refused")
    with pytest.raises(Unhealthy, match="its port 1 does not answer on the stack's network") as caught:
        health.wait_until_healthy(container_on_loopback(), check, 1, CancellationToken(), 1)
    assert says in caught.value.detail and remedy in caught.value.remedy


def test_a_port_that_opens_later_than_the_check_is_green_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, local_engine: None, scripted_checks: list[ProbeResult]
) -> None:
    scripted_checks += [ProbeResult(True, "")]
    heard = ["refused"] * 20 + ["open"]
    monkeypatch.setattr(health, "LOOPBACK_SECONDS", 60)
    monkeypatch.setattr(ContainerAddress, "probe_port", lambda *_: heard.pop(0))
    health.wait_until_healthy(container_on_loopback(), CHECK, 60, CancellationToken(), 1)
    assert heard == []


def test_what_ends_before_its_port_answers_says_how(
    monkeypatch: pytest.MonkeyPatch, local_engine: None, scripted_checks: list[ProbeResult]
) -> None:
    container = ScriptedContainer(UP, UP, DOWN)
    container.networks = container_on_loopback().networks
    monkeypatch.setattr(ContainerAddress, "probe_port", lambda *_: "refused")
    with pytest.raises(Unhealthy, match="it ended with exit code 3"):
        health.wait_until_healthy(container, NONE, 60, CancellationToken(), 1)


def test_what_has_no_address_is_not_reached(scripted_checks: list[ProbeResult]) -> None:
    scripted_checks += [ProbeResult(True, "")]
    with pytest.raises(Unhealthy, match="its port 1 cannot be reached"):
        health.wait_until_healthy(ScriptedContainer(UP), CHECK, 60, CancellationToken(), 1)


def test_where_this_machine_is_not_on_the_network_somebody_who_is_there_asks(
    monkeypatch: pytest.MonkeyPatch, scripted_checks: list[ProbeResult]
) -> None:
    scripted_checks += [ProbeResult(True, "")]
    asked: list[tuple[str, int]] = []

    @contextmanager
    def asking(
        container: Any, address: ContainerAddress, port: int, cancellation: CancellationToken
    ) -> Iterator[Callable[[], bool]]:
        yield lambda: asked.append((address.ip, port)) or len(asked) > 2

    monkeypatch.setattr(ContainerAddress, "is_local", False)
    monkeypatch.setattr(reachability, "port_probe", asking)
    health.wait_until_healthy(container_on_loopback(), CHECK, 60, CancellationToken(), 8000)
    assert asked == [("127.0.0.1", 8000)] * 3


@pytest.mark.parametrize("open_port", [True, False])
def test_the_first_check_waits_a_moment_for_the_port(
    monkeypatch: pytest.MonkeyPatch, local_engine: None, scripted_checks: list[ProbeResult], open_port: bool
) -> None:
    """An open port ends the waiting; one that stays closed only delays the check."""
    probes: list[str] = []
    monkeypatch.setattr(health, "REFUSED_SECONDS", 60 if open_port else 0.05)
    monkeypatch.setattr(engine, "probe", lambda *_: probes.append("probe") or ProbeResult(True, ""))
    monkeypatch.setattr(reachability, "find_listeners", lambda *_: [])
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if open_port:
            server.listen()
            health.wait_until_healthy(container_on_loopback(), CHECK, 1, CancellationToken(), server.getsockname()[1])
        else:
            with pytest.raises(Unhealthy):
                health.wait_until_healthy(
                    container_on_loopback(), CHECK, 1, CancellationToken(), server.getsockname()[1]
                )
    assert probes == ["probe"]


def test_a_check_that_still_runs_is_not_joined_by_another(
    monkeypatch: pytest.MonkeyPatch, scripted_checks: list[ProbeResult]
) -> None:
    running = threading.Event()
    late, counted = ProbeResult(False, "late", running), []

    class WaitingToken(CancellationToken):
        def sleep(self, seconds: float) -> None:
            counted.append(len(scripted_checks))
            if len(counted) == 5:
                running.set()

    scripted_checks += [late, ProbeResult(True, "")]
    health.wait_until_healthy(ScriptedContainer(UP), CHECK, None, WaitingToken())
    assert counted == [1] * 5
