"""The Docker engine: what is planned in each situation, and how one is asked whether it answers."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.toolchain import docker_daemon
from slipway._internal.toolchain.docker_daemon import EngineStatus, SetupStep, plan_setup

ROOT = EngineStatus(
    docker_daemon.DEFAULT_ADDRESS, problem="no such file or directory", root=True, apt=True, dockerd=True
)


def test_nothing_is_planned_when_the_engine_answers() -> None:
    assert plan_setup(replace(ROOT, problem="")) == ()


@pytest.mark.parametrize(
    ("now", "steps"),
    [
        (ROOT, (SetupStep.START,)),
        (replace(ROOT, service=True), (SetupStep.SERVICE,)),
        (replace(ROOT, dockerd=False), (SetupStep.INSTALL, SetupStep.START)),
        (replace(ROOT, dockerd=False, service=True), (SetupStep.INSTALL, SetupStep.SERVICE)),
    ],
)
def test_root_gets_what_is_missing_and_starts_what_is_stopped(now: EngineStatus, steps: tuple[SetupStep, ...]) -> None:
    assert plan_setup(now) == steps


def test_a_stopped_engine_is_started_even_where_nothing_may_be_installed() -> None:
    assert plan_setup(ROOT, install=False) == (SetupStep.START,)


@pytest.mark.parametrize(
    ("now", "install", "remedy"),
    [
        (replace(ROOT, dockerd=False), False, "docker.io"),
        (replace(ROOT, dockerd=False, apt=False), True, "Install a Docker engine"),
        (replace(ROOT, user_chosen=True, address="tcp://far:2375"), True, "DOCKER_HOST"),
        (replace(ROOT, root=False, denied=True, problem="permission denied"), True, "usermod -aG docker"),
        (replace(ROOT, root=False, service=True), True, "systemctl start docker"),
        (replace(ROOT, root=False), True, "as root"),
        (replace(ROOT, root=False, dockerd=False), True, "administrator"),
        (replace(ROOT, linux=False, root=False), True, "Docker Desktop"),
    ],
)
def test_where_there_is_no_way_the_remedy_says_what_to_do(now: EngineStatus, install: bool, remedy: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        plan_setup(now, install=install)
    assert remedy in caught.value.remedy
    assert now.address in caught.value.message


def test_what_is_wrong_with_the_way_to_a_server_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = SlipwayError("the server is not reached", remedy="Log in.")

    def client() -> None:
        raise wrong

    monkeypatch.setenv("DOCKER_HOST", "ssh://me@server")
    monkeypatch.setattr(docker_daemon.sdk, "client", client)
    now = docker_daemon.inspect_engine()
    assert now.problem == "the server is not reached"
    with pytest.raises(SlipwayError) as caught:
        plan_setup(now)
    assert caught.value is wrong


def serve(path: Path, answer: bytes) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)

    def once() -> None:
        connection, _ = server.accept()
        connection.recv(1000)
        connection.sendall(answer)
        connection.close()
        server.close()

    threading.Thread(target=once, daemon=True).start()


@pytest.mark.parametrize(
    ("answer", "up"),
    [(b"HTTP/1.0 200 OK\r\n\r\nOK", True), (b"HTTP/1.0 500 Oh\r\n\r\n", False), (b"", False)],
)
def test_an_engine_is_up_when_its_ping_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, up: bool
) -> None:
    path = tmp_path / "docker.sock"
    serve(path, answer)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    assert docker_daemon.is_responding() is up


def test_a_missing_socket_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    now = docker_daemon.inspect_engine()
    assert now.problem == "no such file or directory"
    assert now.user_chosen


def test_a_socket_that_nobody_serves_any_more_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "docker.sock"))
    server.close()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    assert "refused" in docker_daemon.inspect_engine().problem


def test_a_pid_file_that_names_something_else_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "docker.pid"
    path.write_text("1")
    monkeypatch.setattr(docker_daemon, "PID_FILE", path)
    assert not docker_daemon._has_foreign_dockerd()
    assert not path.exists()


def test_a_dockerd_that_ends_at_once_is_told_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: object
) -> None:
    assert callable(program)
    dockerd = program("dockerd")
    dockerd.write_text("#!/bin/sh\necho failed to start daemon: no iptables; exit 1\n")
    monkeypatch.setattr(docker_daemon, "is_responding", lambda: False)
    monkeypatch.setattr(docker_daemon, "inspect_engine", lambda: ROOT)
    monkeypatch.setattr(docker_daemon, "PID_FILE", tmp_path / "none")
    lines: list[str] = []
    with pytest.raises(SlipwayError, match="dockerd ended") as caught:
        docker_daemon.ensure_engine(on_line=lines.append)
    assert "no iptables" in caught.value.detail
    assert lines == [f"Docker engine: {SetupStep.START.value}"]
