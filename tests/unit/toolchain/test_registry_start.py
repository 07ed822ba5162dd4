"""Slipway's own registry is started where nothing answers, collected while it is stopped, and ended by whom it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run.process import ProcessResult
from slipway._internal.toolchain import registry_daemon
from slipway._internal.toolchain.registry_daemon import LocalRegistry, ensure_local_registry

ADDRESS, PORT = "127.0.0.1:5000", 5000


class Machine:
    """Whether the registry is up, and what was done to it, in order."""

    def __init__(self) -> None:
        self.up = False
        self.ours = False
        self.done: list[str] = []
        self.command: Sequence[Any] = ()
        self.code = 0

    def launch(self, _home: Path, command: Sequence[Any], **_: Any) -> None:
        self.command, self.up, self.ours = command, True, True
        self.done.append("start")

    def stop(self, _home: Path) -> bool:
        was, self.up, self.ours = self.ours, False, False
        self.done.append("stop")
        return was

    def run(self, argv: Sequence[Any], **options: Any) -> ProcessResult:
        assert not self.up, "a push would lose what it has sent"
        assert options["hold"]
        self.done.append(str(argv[1]))
        blob = registry_daemon.state_folder(PORT) / "data" / "docker" / "registry" / "v2" / "blobs" / "old" / "data"
        if blob.exists() and not self.code:
            blob.unlink()
        return ProcessResult(self.code, "it broke\n", "")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr(registry_daemon, "ensure_tool", lambda name, **_: Path("/tools") / name)
    monkeypatch.setattr(registry_daemon, "is_responding", lambda _host, _port: found.up)
    monkeypatch.setattr(registry_daemon, "run", found.run)
    monkeypatch.setattr(registry_daemon.background, "launch_daemon", found.launch)
    monkeypatch.setattr(registry_daemon.background, "stop_daemon", found.stop)
    monkeypatch.setattr(registry_daemon.background, "find_running", lambda _home: 1 if found.ours else None)
    monkeypatch.setattr(registry_daemon.registry_proxy, "is_supported", lambda: True)
    return found


def test_it_is_started_once_behind_the_proxy_that_lets_this_user_alone_in(machine: Machine) -> None:
    for _ in range(2):
        assert ensure_local_registry(ADDRESS) == LocalRegistry(ADDRESS, started_by_slipway=True)
    assert machine.done == ["start"]
    assert machine.command[0] == sys.executable and "/tools/registry" in map(str, machine.command)
    config = (registry_daemon.state_folder(PORT) / "config.yml").read_text()
    assert "net: unix" in config and str(registry_daemon.state_folder(PORT) / "data") in config


def test_where_there_is_no_proxy_it_listens_on_loopback_itself(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_daemon.registry_proxy, "is_supported", lambda: False)
    ensure_local_registry("localhost:5000/team")
    assert str(machine.command[0]) == "/tools/registry"
    assert 'addr: "127.0.0.1:5000"' in (registry_daemon.state_folder(PORT) / "config.yml").read_text()


def test_one_that_somebody_else_runs_is_used_and_not_called_slipways(machine: Machine) -> None:
    machine.up = True
    assert ensure_local_registry(ADDRESS) == LocalRegistry(ADDRESS, started_by_slipway=False)
    assert machine.done == [] and not registry_daemon.is_started_by_slipway(ADDRESS)


def test_one_of_an_earlier_slipway_that_let_all_users_in_is_started_anew(machine: Machine) -> None:
    machine.up = machine.ours = True
    config = registry_daemon.state_folder(PORT) / "config.yml"
    config.parent.mkdir(parents=True)
    config.write_text("http:\n  net: tcp\n")
    lines: list[str] = []
    ensure_local_registry(ADDRESS, on_line=lines.append)
    assert machine.done == ["stop", "start"] and "for this user alone" in lines[0]
    ensure_local_registry(ADDRESS)
    assert machine.done == ["stop", "start"]


def blob(name: str, size: int) -> Path:
    path = registry_daemon.state_folder(PORT) / "data" / "docker" / "registry" / "v2" / "blobs" / name / "data"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * size)
    return path


def test_garbage_is_collected_while_it_is_stopped_and_it_is_started_again(machine: Machine) -> None:
    machine.up = machine.ours = True
    blob("old", 700)
    blob("new", 30)
    assert registry_daemon.collect_garbage(ADDRESS) == 700
    assert machine.done == ["stop", "garbage-collect", "start"] and registry_daemon.storage_size(ADDRESS) == 30


def test_a_collection_that_fails_starts_it_again_too(machine: Machine) -> None:
    machine.up = machine.ours = True
    machine.code = 1
    with pytest.raises(SlipwayError, match="garbage could not be collected") as failed:
        registry_daemon.collect_garbage(ADDRESS)
    assert "it broke" in failed.value.detail and machine.up


def test_the_garbage_of_another_registry_is_not_touched(machine: Machine) -> None:
    machine.up = True
    with pytest.raises(SlipwayError, match="was not started by Slipway") as refused:
        registry_daemon.collect_garbage(ADDRESS)
    assert "registry garbage-collect" in refused.value.remedy and machine.done == []


def test_only_a_loopback_address_can_be_slipways_own(machine: Machine) -> None:
    machine.ours = True
    assert registry_daemon.is_started_by_slipway(ADDRESS)
    assert not registry_daemon.is_started_by_slipway("registry.example:5000")


def test_every_manifest_is_known_by_its_file_with_the_time_it_came() -> None:
    folder = (
        registry_daemon.state_folder(PORT) / "data" / "docker" / "registry" / "v2" / "repositories" / "shop" / "api"
    )
    for name, seconds in (("a" * 64, 1_000_000), ("b" * 64, 2_000_000)):
        link = folder / "_manifests" / "revisions" / "sha256" / name / "link"
        link.parent.mkdir(parents=True)
        link.write_text("x")
        os.utime(link, (seconds, seconds))
    assert registry_daemon.list_revisions(ADDRESS, "shop/api") == {
        f"sha256:{'a' * 64}": datetime.fromtimestamp(1_000_000, UTC),
        f"sha256:{'b' * 64}": datetime.fromtimestamp(2_000_000, UTC),
    }
    assert registry_daemon.list_revisions(ADDRESS, "shop/web") == {}


def test_it_is_ended_by_the_port_of_its_address(machine: Machine) -> None:
    assert registry_daemon.stop_local_registry(ADDRESS) is False
    machine.ours = True
    assert registry_daemon.stop_local_registry(ADDRESS) is True
