"""What Slipway asks of a Docker engine, on one in memory: what is gone is fine, and what is somebody else's stays."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.fake_engine import FakeEngine, refusal

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import engine
from slipway._internal.run.engine import ContainerSummary

CHECK = {"Test": ["CMD", "check"]}


def summary(identity: str, health: str = "", state: str = "running") -> ContainerSummary:
    return ContainerSummary(identity, "api-1", "api", "image", state, health, "", 1)


def test_a_stacks_containers_are_listed_by_service_and_age(docker: FakeEngine) -> None:
    for name, service in (("web-1", "web"), ("api-1", "api"), ("api-2", "api")):
        docker.add_container(name, service=service)
    docker.add_container("others", labels={engine.WORKSPACE_LABEL: "other"})
    assert [container.name for container in engine.list_containers("demo", "dev")] == ["api-1", "api-2", "web-1"]


def test_a_log_is_read_line_by_line(docker: FakeEngine) -> None:
    container = docker.add_container("api-1")
    container.log = b"one\ntwo"
    assert list(engine.read_logs(container.id)) == ["one", "two"]
    with pytest.raises(SlipwayError, match="refused"):
        list(engine.read_logs("gone"))


@pytest.mark.parametrize(
    ("config", "command"),
    [
        ({"Healthcheck": {"Test": ["CMD", "check", "-q"]}}, ["check", "-q"]),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "check -q"]}}, ["/bin/sh", "-c", "check -q"]),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "check"]}, "Shell": ["/bin/ash", "-ec"]}, ["/bin/ash", "-ec", "check"]),
        ({"Healthcheck": {"Test": ["NONE"]}}, []),
        ({}, []),
    ],
)
def test_the_command_of_a_health_check_is_an_argument_list(config: dict[str, Any], command: list[str]) -> None:
    assert engine.health_command(SimpleNamespace(attrs={"Config": config})) == command


def test_a_health_check_has_its_own_times_and_dockers_for_the_rest() -> None:
    image = SimpleNamespace(attrs={"Config": {"Healthcheck": {**CHECK, "Interval": 5_000_000_000, "Retries": 7}}})
    found = engine.read_health_check(image)
    assert (found.command, found.interval, found.timeout, found.retries) == (("check",), 5.0, 30.0, 7)
    assert found.start_interval is None
    assert engine.read_health_check(SimpleNamespace(attrs={"Config": None})).command == ()


@pytest.mark.parametrize(
    ("health", "state", "exit_code", "told"),
    [
        ("healthy", "running", 1, "healthy"),
        ("", "exited", 1, "exited"),
        ("starting", "running", 0, "healthy"),
        ("unhealthy", "running", 0, "healthy"),
        ("unhealthy", "running", 1, "unhealthy"),
    ],
)
def test_a_verdict_that_is_bad_or_missing_is_asked_for_anew(
    docker: FakeEngine, health: str, state: str, exit_code: int, told: str
) -> None:
    docker.add_image("image", Healthcheck=CHECK)
    container = docker.add_container("api-1")
    docker.on_exec = lambda *_: (exit_code, "")
    assert engine.current_health(summary(container.id, health, state)) == told


def test_a_health_check_that_hangs_has_failed_and_its_end_is_still_known(docker: FakeEngine) -> None:
    ended = threading.Event()
    docker.on_exec = lambda *_: (0, "late") if ended.wait(10) else (1, "")
    container = docker.add_container("api-1")
    found = engine.probe(container.id, ["check"], 0.01)
    assert not found.ok and "0 s" in found.output and not found.finished.is_set()
    ended.set()
    assert found.finished.wait(10)


@pytest.mark.parametrize(("code", "ok"), [(0, True), (3, False)])
def test_a_health_check_is_as_good_as_its_exit_status(docker: FakeEngine, code: int, ok: bool) -> None:
    docker.on_exec = lambda *_: (code, " words \n")
    found = engine.probe(docker.add_container("api-1").id, ["check"], 10)
    assert (found.ok, found.output) == (ok, "words")


def test_a_container_goes_with_its_volumes_and_what_is_gone_is_fine(docker: FakeEngine) -> None:
    container = docker.add_container("api-1")
    for purpose in engine.VOLUME_PURPOSES:
        docker.add_volume(engine.volume_name("api-1", purpose), {engine.WORKSPACE_LABEL: "demo"})
    engine.remove_container(container.id, grace=7)
    assert container.did[-2:] == ["stop within 7", "remove"]
    assert not docker.all and not docker.stored_volumes
    engine.remove_container(container.id)


def test_the_volumes_of_a_container_that_is_gone_itself_are_found_by_its_name(docker: FakeEngine) -> None:
    docker.add_volume("api-1-secrets", {engine.WORKSPACE_LABEL: "demo"})
    engine.remove_container("gone", name="api-1")
    assert not docker.stored_volumes


def test_a_volume_without_slipways_labels_is_somebody_elses(docker: FakeEngine) -> None:
    docker.add_volume("api-1-secrets", {})
    engine.remove_volume("api-1-secrets")
    assert list(docker.stored_volumes) == ["api-1-secrets"]


@pytest.mark.parametrize(("refusals", "status", "removed"), [(3, 409, True), (99, 409, False), (1, 500, False)])
def test_a_volume_that_its_container_has_only_just_left_is_tried_again(
    docker: FakeEngine, monkeypatch: pytest.MonkeyPatch, refusals: int, status: int, removed: bool
) -> None:
    monkeypatch.setattr(engine.time, "sleep", lambda _seconds: None)
    docker.add_volume("api-1-secrets", {engine.WORKSPACE_LABEL: "demo"})
    volume, left = docker.stored_volumes["api-1-secrets"], [refusals]
    remove = volume.remove

    def remove_later() -> None:
        if left[0]:
            left[0] -= 1
            raise refusal(status, "volume is in use")
        remove()

    monkeypatch.setattr(volume, "remove", remove_later)
    if removed:
        engine.remove_volume("api-1-secrets")
    else:
        with pytest.raises(SlipwayError, match="in use"), engine.docker_errors():
            engine.remove_volume("api-1-secrets")
    assert ("api-1-secrets" not in docker.stored_volumes) is removed


def test_a_stopped_container_does_not_come_back_by_itself(docker: FakeEngine) -> None:
    container = docker.add_container("api-1")
    assert engine.is_running(container.id)
    engine.stop_container(container.id, 5)
    assert container.attrs["HostConfig"]["RestartPolicy"] == {"Name": "no"}
    assert container.did[-1] == "stop within 5" and not engine.is_running(container.id)
    engine.stop_container("gone", 5)
    assert not engine.is_running("gone")


def test_an_image_in_use_stays_and_one_that_is_gone_is_fine(
    docker: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.add_image("image")
    engine.remove_image("image")
    engine.remove_image("image")
    assert docker.stored_images == {}
    in_use = docker.add_container("api-1").image.ref
    engine.remove_image(in_use)
    assert in_use in docker.stored_images

    def refuse(_ref: str) -> None:
        raise refusal(409, "image is being used")

    monkeypatch.setattr(docker.images, "remove", refuse)
    engine.remove_image("image")


def test_a_containers_times_are_when_it_was_made_and_started(docker: FakeEngine) -> None:
    created, started = engine.read_container_times(docker.add_container("api-1").id)
    assert started - created == 1
    with pytest.raises(SlipwayError):
        engine.read_container_times("gone")
