"""The processes of a session: what a program that was started in one of its own has left running, and ending that."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from slipway.model.scratch import MARK

LOOK_SECONDS = 0.05
LEFT_SECONDS = 10.0


def members(leader: int) -> list[int]:
    """Return the processes of a session by number, however they are grouped; where there is no /proc, the leader."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            state, _, _, session = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
            if int(session) == leader and state not in "ZX":
                found.append(int(folder.name))
    return found if found or Path("/proc/self").exists() else [leader]


def born(pid: int) -> str:
    """Return when a process began, in a form to compare; nothing where it is gone or that is not told."""
    with suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{Path(f'/proc/{pid}/stat').read_text(errors='replace').rpartition(')')[2].split()[19]}"
    return ""


def end_left(sessions: Mapping[int, str], mark: str, seconds: float = LEFT_SECONDS) -> None:
    """End what is left of sessions whose starter was killed: a Pulumi, its plugins, a builder's client.

    Numbers are given again, at once in a container that starts anew. A leader is known by when it began; where it is
    gone, the rest is known by what it was given.

    Args:
        sessions: each leader's number, and when it began.
        mark: what the starter had in its environment, as `scratch.MARK`.
        seconds: how long they may take to end in order.
    """
    for leader, began in sessions.items():
        now = born(leader)
        if began and now == began:
            end_processes(members(leader), seconds)
        elif began and not now and began.partition(":")[0] == born(os.getpid()).partition(":")[0]:
            end_processes([pid for pid in members(leader) if _has_mark(pid, mark)], seconds)


def _has_mark(pid: int, mark: str) -> bool:
    try:
        given = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in given


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
