"""A lock is free when its holder and the child that works for it are gone, however they end."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import PYTHONPATH

PROGRAM = """
import sys
from pathlib import Path
from slipway.run.process import run
from slipway.toolchain.locking import file_lock
with file_lock(Path(sys.argv[1]), lambda: None) as lock:
    program = ["/bin/sh", "-c", "echo there; exec /bin/cat " + sys.argv[2]]
    run(program, hold=lock, on_line=lambda line: print(line, flush=True))
"""


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
