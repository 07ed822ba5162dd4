"""Tools that are built while tests run: those that suites need, out of the tests' way, and gone with the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import ROOT

from slipway._internal.toolchain.tool_catalog import find_tool
from slipway._internal.toolchain.vendor_release import MIRROR_VARIABLE
from tests import tools_ahead

GO = """#!/bin/sh
case "$1" in
  env) echo go1.99 ;;
  build) sleep 600 & echo "$$ $!" > {pids}.new; mv {pids}.new {pids}; wait ;;
esac
"""
STARTER = """
import sys, time
from pathlib import Path
from tests.tools_ahead import AheadBuild
build = AheadBuild(["gate"], Path(sys.argv[1]))
time.sleep(600)
"""
WAIT_SECONDS = 60.0


@pytest.fixture
def compilers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """A machine without tools, whose Go never ends; return how to wait for it, and for what it has started."""
    pids, go = tmp_path / "pids", tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(GO.format(pids=pids))
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SLIPWAY_PINNED_TOOLS", "1")
    monkeypatch.setenv(MIRROR_VARIABLE, "http://127.0.0.1:1")

    def wait() -> list[int]:
        wait_until(pids.exists)
        return [int(word) for word in pids.read_text().split()]

    return wait


@pytest.mark.usefixtures("compilers")
def test_a_look_says_whether_all_tools_are_there_and_builds_none(tmp_path: Path) -> None:
    assert tools_ahead.main([tools_ahead.LOOK, "gate"]) == 1
    assert not (tmp_path / "pids").exists()


def test_what_a_suite_needs_are_tools_that_there_are() -> None:
    for suite in ("gate", "e2e", "kubernetes"):
        assert [find_tool(name).name for name in tools_ahead.tools_of(suite)]
    assert set(tools_ahead.tools_of("e2e")) < set(tools_ahead.tools_of("kubernetes"))
    assert "pulumi-resource-kubernetes" in tools_ahead.tools_of("kubernetes")


def test_a_build_ahead_is_ended_with_all_that_it_has_started(
    compilers: Callable[[], list[int]], tmp_path: Path
) -> None:
    build = tools_ahead.AheadBuild(["gate"], tmp_path / "log")
    running = compilers()
    assert [os.getpriority(os.PRIO_PROCESS, pid) for pid in running] == [tools_ahead.LOWEST_PRIORITY] * 2
    build.end()
    assert not [pid for pid in running if lives(pid)]
    assert not [*(tmp_path / "cache" / "slipway" / "tools" / "registry").glob(".new-*")]
    build.end()  # nothing to do


def test_a_build_ahead_ends_when_its_starter_is_killed(compilers: Callable[[], list[int]], tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(tools_ahead.SOURCES)])
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, tmp_path / "log"], cwd=ROOT, env={**os.environ, "PYTHONPATH": path}
    )
    running = compilers()
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    wait_until(lambda: not [pid for pid in running if lives(pid)])


def test_a_tool_that_cannot_be_had_is_told_and_the_next_one_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(MIRROR_VARIABLE, "http://127.0.0.1:1")
    assert tools_ahead.get_tools(["gate"]) == len(tools_ahead.tools_of("gate"))
    said = capfd.readouterr().out
    assert all(f"✘ {name} " in said for name in tools_ahead.tools_of("gate"))
    assert "there is no go on PATH" in said


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for whoever asks how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
