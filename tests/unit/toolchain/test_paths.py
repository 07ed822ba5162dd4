"""Folders of Slipway's on the machine: this user's alone, and never one that another user has made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.toolchain import paths
from slipway._internal.toolchain.paths import make_private, restrict_state_folder, socket_path, state_path


def test_a_state_folder_that_others_may_enter_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    above = state_path("registry-5000").parent
    above.mkdir(mode=0o755)
    above.chmod(0o755)
    restrict_state_folder()
    assert above.stat().st_mode & 0o777 == 0o700
    assert tmp_path.stat().st_mode & 0o777 == 0o700  # pytest's own; not Slipway's to change


def test_a_state_folder_is_made_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "new"))
    restrict_state_folder()
    assert state_path("x").parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "squatted"
    folder.mkdir(mode=0o755)
    monkeypatch.setattr(paths.os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(SlipwayError, match="belongs to another user"):
        make_private(folder)


def test_a_socket_s_path_that_is_too_long_gets_a_short_folder() -> None:
    assert socket_path(Path("/s/x.sock")) == Path("/s/x.sock")
    long = Path("/") / ("a" * 120) / "x.sock"
    assert len(os.fsencode(socket_path(long))) < 108 and socket_path(long) == socket_path(long)
