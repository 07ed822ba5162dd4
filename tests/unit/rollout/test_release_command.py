"""A release command runs to its end in a container that is made as the service's is, and nothing of it is left."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from tests.unit.fake_engine import FakeContainer, FakeEngine, stack_labels

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace_path import use_workspace
from slipway._internal.rollout import release_progress
from slipway._internal.rollout.cancellation import CancellationToken, Cancelled
from slipway._internal.rollout.container import ContainerSpec
from slipway._internal.rollout.release_command import run_release_command
from slipway._internal.rollout.release_progress import watch_release_commands
from slipway._internal.run import engine

IMAGE = "127.0.0.1:5000/demo/api@sha256:" + "a" * 64
URN = "urn:pulumi:dev::demo::slipway:docker:ReleaseCommand::api"
COMMAND = ["python", "-m", "app.migrate"]


def spec(**inputs: Any) -> ContainerSpec:
    fixed = {"service": "api", "stack": "dev", "workspace": "demo", "image": IMAGE, "network": "demo-dev"}
    return ContainerSpec.from_inputs({**fixed, **inputs})


@pytest.fixture
def machine(docker: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """An engine that has the service's image, and whose containers end at once, well."""
    use_workspace(tmp_path)
    docker.add_image(IMAGE, Healthcheck={"Test": ["CMD", "check"]})
    docker.on_start = lambda container: container.end(0)
    monkeypatch.setenv("SLIPWAY_LOGS", str(tmp_path / "logs"))
    return docker


def test_it_has_the_services_restrictions_secrets_and_network_and_is_removed(machine: FakeEngine) -> None:
    made: list[FakeContainer] = []

    def end(container: FakeContainer) -> None:
        made.append(container)
        container.end(0)

    machine.on_start = end
    given = spec(secrets={"TOKEN": "open sesame"}, env={"LEVEL": "info"}, memory="256m", cpus=0.5)
    run_release_command(given, COMMAND, URN, CancellationToken())
    [container] = made
    options = container.options
    assert (options["entrypoint"], options["command"]) == (["python"], ["-m", "app.migrate"])
    assert (options["read_only"], options["cap_drop"], options["mem_limit"]) == (True, ["ALL"], "256m")
    assert (options["network"], options["environment"]) == ("demo-dev", {"LEVEL": "info"})
    assert (options["cpu_quota"], options["healthcheck"]) == (50_000, {"test": ["NONE"]})
    assert container.files == {"/run/secrets/TOKEN": (b"open sesame", 0o400)}
    assert options["labels"][engine.RELEASE_LABEL] == "true"
    assert machine.all == {} and machine.stored_volumes == {}
    assert machine.executed == []


def test_one_that_fails_is_told_with_its_last_lines_without_secrets_and_its_log(
    machine: FakeEngine, tmp_path: Path
) -> None:
    def fail(container: FakeContainer) -> None:
        container.log = b"applying 0007\nno such column; token open sesame\n"
        container.end(3)

    machine.on_start = fail
    with pytest.raises(SlipwayError) as caught:
        run_release_command(spec(secrets={"TOKEN": "open sesame"}), COMMAND, URN, CancellationToken())
    error = caught.value
    assert error.message == "service api failed: its release command failed (exit code 3)"
    assert "no such column" in error.detail and "open sesame" not in error.detail
    assert error.log and error.log.parent == tmp_path / "logs" and "applying 0007" in error.log.read_text()
    assert "runs again" in error.remedy
    assert machine.all == {} and machine.stored_volumes == {}


def test_one_that_took_too_much_memory_is_told_so(machine: FakeEngine) -> None:
    def kill(container: FakeContainer) -> None:
        container.state["OOMKilled"] = True
        container.end(137)

    machine.on_start = kill
    with pytest.raises(SlipwayError, match="exceeded its memory limit"):
        run_release_command(spec(), COMMAND, URN, CancellationToken())


def test_an_interrupt_stops_it_and_removes_it(machine: FakeEngine) -> None:
    cancellation, made = CancellationToken(), []

    def interrupt(container: FakeContainer) -> None:
        made.append(container)
        threading.Timer(0.1, cancellation.cancel).start()

    machine.on_start = interrupt
    with pytest.raises(Cancelled):
        run_release_command(spec(), COMMAND, URN, cancellation)
    assert made[0].did == ["start", "stop within 10", "remove"]
    assert machine.all == {}


def test_its_progress_is_told_while_it_runs(machine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_progress, "PROGRESS_SECONDS", 0.05)
    machine.on_start = lambda container: threading.Timer(0.6, container.end, [0]).start()
    told: list[tuple[str, float]] = []
    with watch_release_commands(lambda service, seconds: told.append((service, seconds))):
        run_release_command(spec(), COMMAND, URN, CancellationToken())
    assert {service for service, _ in told} == {"api"} and 0 < told[0][1] < told[-1][1] < 5
    before = len(told)
    run_release_command(spec(), COMMAND, URN, CancellationToken())
    assert len(told) == before, "nobody listens any more"


def test_what_a_killed_deploy_left_is_removed_first_and_no_others(machine: FakeEngine) -> None:
    machine.on_start = lambda _container: None
    mine = {engine.RELEASE_LABEL: "true", engine.URN_LABEL: URN}
    machine.add_container("left", labels={**stack_labels("api"), **mine})
    machine.add_container("others", labels={**stack_labels("api"), **mine, engine.URN_LABEL: "urn:other"})
    machine.add_container("serving", service="api", labels={engine.URN_LABEL: URN})
    machine.on_start = lambda container: container.end(0)
    run_release_command(spec(), COMMAND, URN, CancellationToken())
    assert sorted(container.name for container in machine.all.values()) == ["others", "serving"]


def test_it_is_no_service(machine: FakeEngine) -> None:
    machine.add_container("left", labels={**stack_labels("api"), engine.RELEASE_LABEL: "true"})
    assert engine.list_containers("demo", "dev") == []


def test_an_image_that_cannot_be_had_leaves_nothing(machine: FakeEngine) -> None:
    with pytest.raises(SlipwayError, match="can't be pulled"):
        run_release_command(spec(image=IMAGE.replace("a" * 64, "b" * 64)), COMMAND, URN, CancellationToken())
    assert machine.all == {}
