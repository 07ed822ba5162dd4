"""The processes of a session: what a program that was started in one of its own has left running, and ending that."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

LOOK_SECONDS = 0.05


def members(leader: int) -> list[int]:
    """Return the processes of a session by number, however they are grouped; where there is no /proc, the leader."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            state, _, _, session = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
            if int(session) == leader and state not in "ZX":
                found.append(int(folder.name))
    return found or [leader]


def name_of(pid: int) -> str:
    """Return the name of the program that a process runs; nothing where it is gone."""
    try:
        return Path(os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0])).name
    except OSError:
        return ""


def end_processes(pids: Iterable[int], seconds: float) -> None:
    """End processes: politely, and after some seconds for good."""
    left = _told(pids, signal.SIGTERM) if seconds else list(pids)
    over = time.monotonic() + seconds
    while left and time.monotonic() < over:
        time.sleep(LOOK_SECONDS)
        left = [pid for pid in left if _runs(pid)]
    _told(left, signal.SIGKILL)


def _told(pids: Iterable[int], number: signal.Signals) -> list[int]:
    """Send a signal; return those that were there to get it."""
    there = []
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
            there.append(pid)
    return there


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except ProcessLookupError:
        return False
    except (OSError, IndexError):
        return not Path("/proc").is_dir()
