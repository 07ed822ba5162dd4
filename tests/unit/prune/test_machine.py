"""What Slipway started on this machine is ended, and never an engine that still runs something for others."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slipway._internal.context.reporter import NullReporter
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway._internal.prune import machine
from slipway._internal.toolchain import docker_daemon


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was ended; the engine is Slipway's own."""
    done: list[str] = []
    monkeypatch.setattr(machine.daemons, "stop_daemons", lambda _workspace: ())
    monkeypatch.setattr(machine.background, "find_running", lambda _folder: object())
    monkeypatch.setattr(docker_daemon, "stop_engine", lambda: bool(done.append("engine")) or True)
    return done


def engines(monkeypatch: pytest.MonkeyPatch, **running: list[str] | None) -> None:
    """Let there be one engine at the default address and one where DOCKER_HOST leads, or none that answers."""

    def client(host: str | None = None) -> Any:
        names = running["here" if host == docker_daemon.DEFAULT_ADDRESS else "elsewhere"]
        if names is None:
            raise SlipwayError("it does not answer")
        listed = [SimpleNamespace(name=name) for name in names]
        return SimpleNamespace(containers=SimpleNamespace(list=lambda: listed))

    monkeypatch.setattr(machine.docker, "client", client)


def stop() -> None:
    machine.stop_daemons(Workspace(Path("/w"), WorkspaceSettings("demo", "127.0.0.1:5000"), ()), NullReporter())


def test_an_engine_that_runs_nothing_is_ended(ended: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    engines(monkeypatch, here=[], elsewhere=["theirs"])
    stop()
    assert ended == ["engine"]


@pytest.mark.parametrize("running", [["theirs"], None])
def test_one_that_runs_something_or_does_not_say_stays_wherever_docker_host_leads(
    ended: list[str], monkeypatch: pytest.MonkeyPatch, running: list[str] | None
) -> None:
    engines(monkeypatch, here=running, elsewhere=[])
    stop()
    assert ended == []
