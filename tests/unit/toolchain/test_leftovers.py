"""What is left on the machine: only what Slipway made is named, and nothing that is in use goes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from slipway._internal.toolchain import leftovers
from slipway._internal.toolchain.leftovers import (
    find_leftovers,
    folder_size,
    go_folder,
    remove_go_caches,
    using_go_caches,
)
from slipway._internal.toolchain.paths import tools_path
from slipway._internal.toolchain.tool_catalog import find_tool


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of the test's own: its cache, and its folder for temporary files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(leftovers.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path


def version(name: str, number: str) -> Path:
    folder = tools_path() / name / number
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"x" * 1000)
    return folder


def test_a_fresh_machine_has_nothing_left() -> None:
    assert find_leftovers() == []


def test_older_versions_of_a_tool_go_and_the_one_that_is_used_stays(machine: Path) -> None:
    old, used = version("crane", "0.0.1"), version("crane", find_tool("crane").version)
    foreign = tools_path() / "somebody-elses" / "1.0"
    foreign.mkdir(parents=True)
    (found,) = find_leftovers()
    assert (Path(found.what), found.bytes) == (old, 1000)
    found.remove()
    assert not old.exists() and used.exists() and foreign.exists()


def test_a_frontend_goes_whichever_version_it_is_for_its_image_is_in_a_registry(machine: Path) -> None:
    frontend = version("dockerfile-frontend", "1.99.0-labs")
    (found,) = find_leftovers()
    assert (Path(found.what), found.bytes) == (frontend, 1000)
    found.remove()
    assert not frontend.exists()


def test_an_older_version_that_runs_stays(machine: Path) -> None:
    old = version("crane", "0.0.1")
    shutil.copy("/bin/sleep", old / "crane")
    with subprocess.Popen([old / "crane", "600"]) as child:
        assert find_leftovers() == []
        child.kill()
    assert [Path(each.what) for each in find_leftovers()] == [old]


def test_go_s_caches_go_unless_something_is_being_built(machine: Path) -> None:
    (go_folder() / "build").mkdir(parents=True)
    (go_folder() / "build" / "a").write_bytes(b"x" * 500)
    (found,) = find_leftovers()
    assert (found.what, found.bytes) == (str(go_folder()), 500)
    with using_go_caches():
        found.remove()
        assert folder_size(go_folder()) == 500
    remove_go_caches()
    assert not go_folder().exists()


def test_two_builds_may_use_go_s_caches_at_once() -> None:
    lock = go_folder().with_suffix(".lock")
    with using_go_caches(), using_go_caches(), lock.open("w") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_only_old_empty_mount_points_go(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(name: str, age: float = 7200) -> Path:
        folder = machine / "tmp" / name
        folder.mkdir()
        moment = folder.stat().st_mtime - age
        os.utime(folder, (moment, moment))
        return folder

    left, fresh, mounted = made("buildkit-mount1"), made("buildkit-mount2", 60), made("buildkit-mount3")
    full, other = machine / "tmp" / "buildkit-mount4", made("somebody-elses")
    full.mkdir()
    (full / "file").touch()
    os.utime(full, (0, 0))
    (machine / "tmp" / "buildkit-mount5").symlink_to(other)
    monkeypatch.setattr(leftovers, "_mount_points", lambda: iter([mounted]))
    (found,) = find_leftovers()
    assert found.what.endswith("buildkit-mount* (1)")
    found.remove()
    assert not left.exists()
    assert all(each.exists() for each in (fresh, mounted, full, other))


def test_what_was_put_there_meanwhile_stays(machine: Path) -> None:
    folder = machine / "tmp" / "buildkit-mount1"
    folder.mkdir()
    os.utime(folder, (0, 0))
    (found,) = find_leftovers()
    (folder / "file").touch()
    found.remove()
    assert (folder / "file").exists()


def test_a_mount_is_known_by_a_path_with_blanks_and_by_another_way_to_it(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = machine / "my tmp" / "buildkit-mount1"
    real.mkdir(parents=True)
    os.utime(real, (0, 0))
    (machine / "link").symlink_to(real.parent)
    monkeypatch.setattr(leftovers.tempfile, "gettempdir", lambda: str(machine / "link"))
    (found,) = find_leftovers()
    assert found.what.endswith("(1)")
    (machine / "proc" / "7").mkdir(parents=True)
    where = str(real).replace(" ", "\\040")
    (machine / "proc" / "7" / "mountinfo").write_text(f"1 2 0:3 / {where} rw - overlay overlay rw\n")
    monkeypatch.setattr(leftovers, "PROC", machine / "proc")
    assert find_leftovers() == []
