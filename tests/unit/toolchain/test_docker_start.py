"""An engine is installed and started only as planned, each step said first, and one that comes up is waited for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run.process import ProcessResult
from slipway._internal.toolchain import docker_daemon
from slipway._internal.toolchain.docker_daemon import Engine, EngineStatus, SetupStep, ensure_engine


class Machine:
    """Whether the engine answers, what was run, and how each program ends."""

    def __init__(self) -> None:
        self.up = False
        self.ours = False
        self.ran: list[str] = []
        self.codes: list[int] = []

    def run(self, argv: Sequence[str], **options: Any) -> ProcessResult:
        words = [word for word in argv if not word.startswith("-") and "::" not in word]
        self.ran.append(" ".join(words))
        options["on_line"]("  a line  ")
        options["on_line"]("")
        code = self.codes.pop(0) if self.codes else 0
        self.up = self.up or (argv[0] == "systemctl" and not code)
        return ProcessResult(code, "it broke\n" if code else "", "")

    def launch(self, _home: Path, argv: Sequence[str], **_: Any) -> None:
        self.ran.append(" ".join(argv))
        self.up = self.ours = True


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    found = Machine()
    monkeypatch.setattr(docker_daemon, "address", lambda: docker_daemon.DEFAULT_ADDRESS)
    monkeypatch.setattr(docker_daemon, "is_responding", lambda: found.up)
    monkeypatch.setattr(docker_daemon, "run", found.run)
    monkeypatch.setattr(docker_daemon, "PID_FILE", tmp_path / "docker.pid")
    monkeypatch.setattr(docker_daemon.background, "launch_daemon", found.launch)
    monkeypatch.setattr(docker_daemon.background, "find_running", lambda _home: 1 if found.ours else None)
    yield found


def situation(monkeypatch: pytest.MonkeyPatch, **known: bool) -> None:
    status = EngineStatus(docker_daemon.DEFAULT_ADDRESS, problem="no such file", root=True, apt=True, **known)
    monkeypatch.setattr(docker_daemon, "inspect_engine", lambda: status)


def test_an_engine_that_answers_is_used_and_nothing_is_run(machine: Machine) -> None:
    machine.up = True
    assert ensure_engine() == Engine(docker_daemon.DEFAULT_ADDRESS, started_by_slipway=False)
    assert machine.ran == []


def test_a_stopped_one_is_started_and_known_as_slipways(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    situation(monkeypatch, dockerd=True)
    lines: list[str] = []
    assert ensure_engine(on_line=lines.append) == Engine(docker_daemon.DEFAULT_ADDRESS, started_by_slipway=True)
    assert machine.ran == ["dockerd"] and lines[0] == f"Docker engine: {SetupStep.START.value}"


def test_a_missing_one_is_installed_and_every_step_is_said_before_the_first(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    situation(monkeypatch, service=True)
    lines: list[str] = []
    assert not ensure_engine(on_line=lines.append).started_by_slipway, "the system's service is the system's"
    packages = " ".join(docker_daemon.PACKAGES)
    assert machine.ran == [f"apt-get install {packages}", "systemctl start docker"]
    assert lines[:2] == [f"Docker engine: {step.value}" for step in (SetupStep.INSTALL, SetupStep.SERVICE)]
    assert lines[2] == "a line" and "" not in lines[:3]


def test_old_package_lists_are_renewed_and_it_is_tried_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    situation(monkeypatch)
    machine.codes = [100, 0, 0]
    ensure_engine()
    assert [words.split()[1] if " " in words else words for words in machine.ran] == [
        "install",
        "update",
        "install",
        "dockerd",
    ]


def test_what_cannot_be_installed_is_told_with_how_to_do_it_by_hand(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    situation(monkeypatch)
    machine.codes = [100, 0, 100]
    with pytest.raises(SlipwayError, match="could not install the engine") as failed:
        ensure_engine()
    assert "it broke" in failed.value.detail and "docker.io" in failed.value.remedy and failed.value.log
    assert "dockerd" not in machine.ran


def test_a_service_that_does_not_start_is_told_with_where_to_look(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    situation(monkeypatch, dockerd=True, service=True)
    machine.codes = [1]
    with pytest.raises(SlipwayError, match="the docker service did not start") as failed:
        ensure_engine()
    assert "journalctl -u docker" in failed.value.remedy and "it broke" in failed.value.detail


def test_one_that_is_starting_already_is_waited_for_and_not_started_twice(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    situation(monkeypatch, dockerd=True)
    monkeypatch.setattr(docker_daemon, "_has_foreign_dockerd", lambda: True)

    def come_up(_seconds: float) -> None:
        machine.up = True

    monkeypatch.setattr(docker_daemon.time, "sleep", come_up)
    lines: list[str] = []
    assert not ensure_engine(on_line=lines.append).started_by_slipway
    assert machine.ran == [] and any("already starting" in line for line in lines)


def test_one_that_is_starting_and_never_answers_is_left_with_its_pid_file_named(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    situation(monkeypatch, dockerd=True)
    monkeypatch.setattr(docker_daemon, "_has_foreign_dockerd", lambda: True)
    monkeypatch.setattr(docker_daemon, "START_SECONDS", -1.0)
    with pytest.raises(SlipwayError, match=r"the dockerd of .*docker\.pid does not answer"):
        ensure_engine()


def test_only_one_that_slipway_started_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(docker_daemon.background, "stop_daemon", lambda home, **_: bool(asked.append(home)))
    assert docker_daemon.stop_engine() is False
    assert asked == [docker_daemon.state_folder()]
