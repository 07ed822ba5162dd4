"""How a container is drained, with a fake engine and a clock that advances only by waiting."""

from __future__ import annotations

from typing import Any

import pytest

from slipway._internal.rollout import drain, envoy
from slipway._internal.rollout.cancellation import CancellationToken, Cancelled
from slipway._internal.run import engine


class Clock(CancellationToken):
    """Time that only passes while it is waited for; the user interrupts at `end`."""

    def __init__(self, end: float = 1e9) -> None:
        super().__init__()
        self.now, self.end = 0.0, end

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > self.end:
            raise Cancelled


class World:
    """When the gateway has no requests any more that it sent to the container before its switch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.gateway, self.did, self.asked = Clock(), 0.0, [], []  # type: ignore[var-annotated]
        monkeypatch.setattr(drain.time, "monotonic", lambda: self.clock.now)
        monkeypatch.setattr(drain, "_find_running", lambda _id: self)
        monkeypatch.setattr(envoy, "wait_for_requests", self.wait_for_requests)
        monkeypatch.setattr(engine, "remove_container", lambda _id, *, name, grace: self.did.append(("remove", grace)))
        monkeypatch.setattr(engine, "stop_container", lambda _id, grace: self.did.append(("stop", grace)))

    def wait_for_requests(
        self, _workspace: str, _stack: str, upstreams: list[str], seconds: float, cancellation: CancellationToken
    ) -> None:
        self.asked = sorted(upstreams)
        cancellation.sleep(min(seconds, self.gateway))

    name = "demo-dev-api.2-1"
    labels = {engine.WORKSPACE_LABEL: "demo", engine.STACK_LABEL: "dev"}
    attrs: dict[str, Any] = {
        "State": {"Running": True, "Pid": 1},
        "NetworkSettings": {"Networks": {"demo-dev": {"Aliases": ["api", "demo-dev-api-1", "abc"]}}},
    }

    def end(self, seconds: float, *, port: int | None = 8000, remove: bool = True) -> float:
        """End it; return when it was told to."""
        drain.drain_container("abc", seconds, self.clock, port=port, remove=remove)
        return self.clock.now


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_what_has_no_request_is_told_to_end_at_once(world: World) -> None:
    assert world.end(30) == 0
    assert world.did == [("remove", 30)]


def test_a_request_in_flight_is_waited_for_and_no_longer(world: World) -> None:
    world.gateway = 25
    assert 25 <= world.end(30) < 26
    assert world.did == [("remove", 10)]


def test_what_does_not_end_has_its_time_and_then_ten_seconds_from_its_stop_signal(world: World) -> None:
    world.gateway = 1e6
    assert 8 <= world.end(8) < 8.1
    assert world.did == [("remove", 10)]


def test_the_gateway_is_asked_for_its_own_name_and_for_the_one_that_its_service_shares(world: World) -> None:
    world.end(30)
    assert world.asked == ["demo-dev-api-1:8000", "demo-dev-api.2-1:8000"]


def test_what_takes_no_requests_has_all_its_time_from_its_stop_signal(world: World) -> None:
    world.gateway = 1e6
    assert world.end(90, port=None) == 0
    assert world.did == [("remove", 90)]


def test_one_that_is_kept_is_only_stopped(world: World) -> None:
    world.end(30, remove=False)
    assert world.did == [("stop", 30)]


def test_an_interrupt_ends_the_waiting_and_the_container_stays(world: World) -> None:
    world.gateway = 1e6
    world.clock.end = 5
    with pytest.raises(Cancelled):
        world.end(30)
    assert world.did == []


def test_what_is_gone_or_stopped_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "_find_running", lambda _id: None)
    world.gateway = 1e6
    assert world.end(30) == 0


def test_an_error_of_the_engine_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no engine")

    monkeypatch.setattr(engine, "remove_container", broken)
    with pytest.raises(OSError, match="no engine"):
        world.end(30)
