"""The processes of a session: what a program that was started in one of its own has left running, and ending that."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from slipway._internal.model.scratch import PROCESS_VARIABLE
from slipway._internal.run.process_status import read_start_time, read_status

POLL_SECONDS = 0.05
END_SECONDS = 10.0


def session_processes(leader: int) -> list[int]:
    """Return the processes of a session by number, however they are grouped; where there is no /proc, the leader."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        status = read_status(folder.name)
        if status and status.session == leader and not status.has_ended:
            pids.append(int(folder.name))
    return pids if pids or Path("/proc/self").exists() else [leader]


def end_orphaned_sessions(sessions: Mapping[int, str], mark: str, seconds: float = END_SECONDS) -> None:
    """End what is left of sessions whose starter was killed: a Pulumi, its plugins, a builder's client.

    Numbers are given again, at once in a container that starts anew. A leader is known by when it began; where it is
    gone, the rest is known by what it was given.

    Args:
        sessions: each leader's number, and when it began.
        mark: what the starter had in its environment, as `scratch.MARK`.
        seconds: how long they may take to end in order.
    """
    for leader, start_time in sessions.items():
        current_start_time = read_start_time(leader)
        if start_time and current_start_time == start_time:
            end_processes(session_processes(leader), seconds)
        elif (
            start_time
            and not current_start_time
            and start_time.partition(":")[0] == read_start_time(os.getpid()).partition(":")[0]
        ):
            end_processes([pid for pid in session_processes(leader) if _has_mark(pid, mark)], seconds)


def _has_mark(pid: int, mark: str) -> bool:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{PROCESS_VARIABLE}={mark}".encode() in variables


def program_name(pid: int) -> str:
    """Return the name of the program that a process runs; nothing where it is gone."""
    try:
        return Path(os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0])).name
    except OSError:
        return ""


def end_processes(pids: Iterable[int], seconds: float) -> None:
    """End processes: politely, and after some seconds for good."""
    running = _send_signal(pids, signal.SIGTERM) if seconds else list(pids)
    deadline = time.monotonic() + seconds
    while running and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        running = [pid for pid in running if _is_running(pid)]
    _send_signal(running, signal.SIGKILL)


def _send_signal(pids: Iterable[int], number: signal.Signals) -> list[int]:
    """Send a signal; return those that were there to get it."""
    signalled = []
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
            signalled.append(pid)
    return signalled


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return not Path("/proc").is_dir()
    status = read_status(pid)
    return not status.has_ended if status else not Path("/proc").is_dir()
