"""Programs that Slipway leaves running: started in their own session, and only those are ever ended."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.files import MEGABYTE, write_atomically
from slipway._internal.model.structured_files import read_json_or_none
from slipway._internal.run import process
from slipway._internal.run.process_status import format_start_time, read_status
from slipway._internal.toolchain.paths import make_private, restrict_state_folder

OnLine = Callable[[str], None]

PID_FILE, LOG_FILE = "pid.json", "log"
STOP_SECONDS = 20.0
MAX_LOG_BYTES = 10_000_000  # bytes; a longer log is begun anew at the next start
# What a daemon gets of the user's environment: ways to programs and through a company's network, no secrets.
PASSED_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


@dataclass(frozen=True)
class DaemonProcess:
    """A process, told by number and time of birth: its number alone may go to another one day."""

    pid: int
    born: str


def launch_daemon(folder: Path, argv: Sequence[str | Path], *, env: dict[str, str] | None = None) -> DaemonProcess:
    """Start a program with its log and pid file in a folder; `env` is added to the few variables it gets.

    Raises:
        SlipwayError: the program is not there.
    """
    restrict_state_folder()
    make_private(folder)
    with suppress(FileNotFoundError):
        if (folder / LOG_FILE).stat().st_size > MAX_LOG_BYTES:
            (folder / LOG_FILE).unlink()
    pid = process.start_daemon(argv, log=folder / LOG_FILE, env={**daemon_environment(), **(env or {})})
    started = DaemonProcess(pid, read_living_start_time(pid) or "")
    write_atomically(folder / PID_FILE, json.dumps(asdict(started)))
    return started


def find_running(folder: Path) -> DaemonProcess | None:
    """Return the process that was started with this folder while it lives; a stale pid file is removed."""
    known: DaemonProcess | None = read_json_or_none(folder / PID_FILE, DaemonProcess, limit=MEGABYTE)
    if known is None or not 0 < known.pid < 2**31:
        return None
    process.reap_child(known.pid)
    if known.born and read_living_start_time(known.pid) == known.born:
        return known
    with suppress(FileNotFoundError):
        (folder / PID_FILE).unlink()
    return None


def stop_daemon(folder: Path, seconds: float = STOP_SECONDS) -> bool:
    """End what was started with this folder, and nothing else; return whether there was something to end."""
    known = find_running(folder)
    if known is None:
        return False
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
        with suppress(ProcessLookupError):
            os.kill(known.pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if find_running(folder) is None:
                return True
            time.sleep(0.05)
    raise SlipwayError(f"process {known.pid} does not end", remedy=f"Look at it with `ps -fp {known.pid}`.")


def wait_until_ready(
    ready: Callable[[], bool], folder: Path, what: str, *, seconds: float, on_line: OnLine, remedy: str
) -> None:
    """Wait until a launched program is ready.

    Raises:
        SlipwayError: it ended, or was not ready in time; the log's last lines are in the error.
    """
    start = last_report = time.monotonic()
    while not ready():
        now = time.monotonic()
        ended = find_running(folder) is None
        if ended or now - start > seconds:
            outcome = "ended right after its start" if ended else f"was not ready after {seconds:.0f} s"
            stop_daemon(folder)
            raise SlipwayError(
                f"{what} {outcome}", remedy=remedy, detail=last_lines(folder / LOG_FILE), log=folder / LOG_FILE
            )
        if now - last_report > 2:
            last_report = now
            on_line(f"{what}: waiting until it is ready, {now - start:.0f} s")
        time.sleep(0.05)


def last_lines(log: Path, count: int = 12) -> str:
    """Return the last lines of a log that hold something."""
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([line for line in lines if line.strip()][-count:])
    return ""


def daemon_environment() -> dict[str, str]:
    """Return the part of this process's environment that a daemon gets."""
    names = (*PASSED_VARIABLES, *PROXY_VARIABLES, *(name.lower() for name in PROXY_VARIABLES))
    return {name: os.environ[name] for name in names if name in os.environ}


def read_living_start_time(pid: int) -> str | None:
    """Return when a living process began, in a form to compare; None when there is none, or it has ended."""
    status = read_status(pid)
    if status is None:
        return None if Path("/proc/self").exists() else _start_time_from_ps(pid)
    # A killed program's first thread is a zombie at once; others may still hold its sockets for a moment.
    return None if status.has_ended and status.threads <= 1 else format_start_time(status) or None


def _start_time_from_ps(pid: int) -> str | None:
    result = process.run(["ps", "-o", "lstart=", "-p", str(pid)])
    return result.output.strip() or None if result.code == 0 else None
