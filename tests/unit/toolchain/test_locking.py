"""A lock is free when its holder and the child that works for it are gone, however they end."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import PYTHONPATH

from slipway._internal.model.errors import SlipwayError
from slipway._internal.toolchain import locking
from slipway._internal.toolchain.locking import file_lock

PROGRAM = """
import sys
from pathlib import Path
from slipway._internal.run.process import run
from slipway._internal.toolchain.locking import file_lock
with file_lock(Path(sys.argv[1]), lambda: None) as lock:
    program = ["/bin/sh", "-c", "echo there; exec /bin/cat " + sys.argv[2]]
    run(program, hold=lock, on_line=lambda line: print(line, flush=True))
"""


def no() -> None:
    raise AssertionError("nobody has it")


def is_free(lock: Path) -> bool:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_child_that_holds_the_lock_keeps_it_when_its_parent_is_killed(tmp_path: Path) -> None:
    lock, pipe = tmp_path / "lock", tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", PROGRAM, str(lock), str(pipe)]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    parent = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    assert parent.stdout.readline() == "there\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert not is_free(lock)
    pipe.write_text("")  # the child reads it to its end, and ends
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits for that


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(_file: object, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locking.fcntl, "flock", refuse)
    with pytest.raises(SlipwayError, match=r"lock cannot be locked: ") as caught, file_lock(tmp_path / "lock", no):
        pass
    assert str(tmp_path / "lock") in caught.value.message and os.strerror(number) in caught.value.message
    assert "XDG_CACHE_HOME" in caught.value.remedy


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES])
def test_a_lock_that_somebody_else_has_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asked: list[int] = []

    def taken_once(_file: object, operation: int) -> None:
        asked.append(operation)
        if operation & fcntl.LOCK_NB:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locking.fcntl, "flock", taken_once)
    waits: list[bool] = []
    with file_lock(tmp_path / "lock", lambda: waits.append(True)):
        assert waits == [True]
        assert asked == [fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_EX]


def test_holders_of_a_shared_lock_share_it_and_keep_others_out(tmp_path: Path) -> None:
    with file_lock(tmp_path / "lock", no, shared=True), file_lock(tmp_path / "lock", no, shared=True):
        assert not is_free(tmp_path / "lock")
    assert is_free(tmp_path / "lock")
