"""Each process has a folder for its temporary files; those of dead processes go at the next start."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import PYTHONPATH

from slipway._internal.model import scratch
from slipway._internal.model.files import open_private, write_atomically


@pytest.fixture
def room(tmp_path: Path) -> Path:
    (tmp_path / "workspace.toml").touch()
    scratch.prepare(tmp_path / ".slipway")
    return tmp_path / ".slipway"


@contextmanager
def program(text: str, *arguments: Path) -> Iterator[subprocess.Popen[str]]:
    """Run Python until it says something; it is killed in the end."""
    child = subprocess.Popen(
        [sys.executable, "-c", text, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()


MAKES = """
import sys
from pathlib import Path
from slipway._internal.model import scratch
room, outside = map(Path, sys.argv[1:])
with scratch.temporary_folder(room, "scan") as folder, scratch.remove_if_killed(room, outside):
    (folder / "report.json").touch()
    outside.mkdir()
    (outside / "layer").touch()
    print("ready", flush=True)
    input()
"""


def test_what_a_killed_process_left_goes_at_the_next_start(room: Path, tmp_path: Path) -> None:
    outside = tmp_path / "services" / ".orders.1"
    outside.parent.mkdir()
    with program(MAKES, room, outside):
        assert len(list(room.glob("tmp/*/scan-*/report.json"))) == 1
    assert list(room.glob("tmp/*"))
    scratch.prepare(room)
    assert not list(room.glob("tmp/*"))
    assert not outside.exists()


def test_what_a_living_process_uses_stays(room: Path, tmp_path: Path) -> None:
    with program(MAKES, room, tmp_path / "outside"):
        scratch.prepare(room)
        assert list(room.glob("tmp/*/scan-*/report.json"))
        assert (tmp_path / "outside" / "layer").is_file()


def test_a_process_that_ends_in_order_leaves_nothing(room: Path, tmp_path: Path) -> None:
    with program(MAKES, room, tmp_path / "outside") as child:
        child.communicate("\n")
        assert not list(room.glob("tmp/*"))


def test_ones_own_files_are_not_swept(room: Path) -> None:
    with scratch.temporary_folder(room, "scan") as folder:
        scratch.remove_stale_folders(room)
        assert folder.is_dir()
    assert not folder.exists()


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from slipway._internal.model.files import write_atomically
os.fsync = lambda _descriptor: (print("ready", flush=True), os.kill(os.getpid(), signal.SIGKILL))
write_atomically(Path(sys.argv[1]), "new")
"""


@pytest.mark.parametrize("relative_path", ["deploy/dev.lock.json", ".slipway/known.json", "elsewhere/versions.json"])
def test_a_file_whose_writer_was_killed_is_the_old_one_and_nothing_stays_beside_it(
    tmp_path: Path, room: Path, relative_path: str
) -> None:
    path = (tmp_path if not relative_path.startswith("elsewhere") else tmp_path.parent) / relative_path
    write_atomically(path, "old")
    with program(KILLED_WHILE_WRITING, path) as child:
        child.wait()
    assert path.read_text() == "old"
    scratch.prepare(room)
    write_atomically(path, "next")
    assert [each.name for each in path.parent.iterdir() if path.name in each.name] == [path.name]
    assert {each.name for each in room.glob("tmp/*/*")} <= {"lock"}


def test_the_scratch_folder_is_its_users_own_also_where_it_was_open_before(tmp_path: Path) -> None:
    folder = tmp_path / ".slipway"
    folder.mkdir(mode=0o755)
    scratch.prepare(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_private_file_is_private_also_where_it_was_open_before(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "api.build.log"
    path.parent.mkdir()
    path.write_text("old\n")
    path.chmod(0o644)
    with open_private(path) as file:
        file.write("new\n")
    assert path.read_text() == "old\nnew\n"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_nothing_can_be_locked_a_process_has_a_folder_and_no_other_removes_it(
    room: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = scratch.process_folder(room)
    other = room / "tmp" / "1-dead"
    other.mkdir()
    scratch.remove_stale_folders(room)
    assert folder.is_dir() and other.is_dir()


def test_a_lock_is_held_by_a_file_that_is_open_for_writing(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS wants it, which locks no folder."""

    def on_nfs(descriptor: int, operation: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "not open for writing")
        whole(descriptor, operation)

    whole = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", on_nfs)
    folder = scratch.process_folder(room)
    (room / "tmp" / "1-dead").mkdir()
    scratch.remove_stale_folders(room)
    assert [each.name for each in (room / "tmp").iterdir()] == [folder.name]


def test_whatever_else_lies_among_the_folders_is_left_as_it_is(room: Path, tmp_path: Path) -> None:
    (room / "tmp").mkdir(exist_ok=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "outside-me").symlink_to(tmp_path / "workspace.toml")
    (room / "tmp" / "link").symlink_to(elsewhere)
    (room / "tmp" / "file").touch()
    os.mkfifo(room / "tmp" / "pipe")
    scratch.remove_stale_folders(room)
    assert [each.name for each in elsewhere.iterdir()] == ["outside-me"]
    assert (tmp_path / "workspace.toml").exists()
