"""Programs left running: only those that were started here are ended, and a stale pid file harms nobody."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.toolchain import background
from slipway._internal.toolchain.background import (
    daemon_environment,
    find_running,
    launch_daemon,
    read_living_start_time,
    stop_daemon,
    wait_until_ready,
)

SLEEP = ["/bin/sleep", "60"]


def test_what_was_launched_runs_in_its_own_session_until_it_is_stopped(tmp_path: Path) -> None:
    started = launch_daemon(tmp_path, SLEEP)
    assert find_running(tmp_path) == started
    assert os.getsid(started.pid) == started.pid
    assert stop_daemon(tmp_path)
    assert find_running(tmp_path) is None
    assert not stop_daemon(tmp_path)


def test_a_pid_file_of_a_process_that_is_gone_is_removed(tmp_path: Path) -> None:
    (tmp_path / background.PID_FILE).write_text(json.dumps({"pid": 4_000_000, "born": "x"}))
    assert find_running(tmp_path) is None
    assert not (tmp_path / background.PID_FILE).exists()


def test_a_process_that_got_the_same_number_later_is_never_ended(tmp_path: Path) -> None:
    other = subprocess.Popen(SLEEP)
    try:
        (tmp_path / background.PID_FILE).write_text(json.dumps({"pid": other.pid, "born": "an earlier boot:1"}))
        assert not stop_daemon(tmp_path)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("content", ["", "12", "{}", '{"pid": 1}', "[]"])
def test_a_broken_pid_file_means_nothing_runs(tmp_path: Path, content: str) -> None:
    (tmp_path / background.PID_FILE).write_text(content)
    assert find_running(tmp_path) is None


def test_one_that_ends_at_once_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    launch_daemon(tmp_path, ["/bin/sh", "-c", "echo cannot bind; exit 1"])
    with pytest.raises(SlipwayError, match="ended right after its start") as caught:
        wait_until_ready(lambda: False, tmp_path, "thing", seconds=5, on_line=print, remedy="r")
    assert caught.value.detail == "cannot bind"
    assert caught.value.log == tmp_path / "log"


def test_one_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    launch_daemon(tmp_path, SLEEP)
    with pytest.raises(SlipwayError, match="not ready after"):
        wait_until_ready(lambda: False, tmp_path, "thing", seconds=0.1, on_line=print, remedy="r")
    assert find_running(tmp_path) is None


def test_a_process_that_has_ended_but_is_not_reaped_counts_as_gone() -> None:
    child = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert read_living_start_time(child.pid) is None
    child.wait()


def test_a_daemon_gets_no_secret_of_the_user_s_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "secret")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    assert "PULUMI_CONFIG_PASSPHRASE" not in daemon_environment()
    assert daemon_environment()["https_proxy"] == "http://proxy:3128"
