"""Runs programs: every one that Slipway starts, by argument list and without a shell."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.files import open_private
from slipway._internal.model.masking import mask
from slipway._internal.model.scratch import process_mark, track_session
from slipway._internal.run.process_status import read_start_time, read_status

GRACE_SECONDS = 10.0
POLL_SECONDS = 0.02
ORPHAN_SECONDS = 2.0
_started: dict[int, subprocess.Popen[bytes]] = {}
_running: set[subprocess.Popen[str]] = set()
_stopping = threading.Event()


@dataclass(frozen=True)
class ProcessResult:
    """How a program ended: its exit status and what it printed.

    `output` is standard output and error in one text, unless error was to be kept apart: then that is in `errors`.
    """

    code: int
    output: str
    errors: str = ""

    def tail(self, lines: int = 12) -> str:
        """Return the last lines of the output that hold something, without the secrets that are known."""
        return "\n".join([line for line in mask(self.output).splitlines() if line.strip()][-lines:])


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    stdin: str | None = None,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    timeout: float | None = None,
    apart: bool = False,
    hold: int | None = None,
) -> ProcessResult:
    """Run a program to its end and return its result; a non-zero exit status is the caller's to judge.

    The program gets a process group of its own, which is ended (TERM, after ten seconds KILL) when the
    time is over or the user presses Ctrl-C, so nothing that it started stays behind.

    Args:
        argv: program and arguments. Never put a secret here: arguments are public on the machine.
        env: variables added to this process's own; one that is None is taken away.
        stdin: text for standard input; without it the program has none.
        log: a file of this user's own that gets the output too, appended as it comes, without the secrets that are
            known.
        on_line: called with each line as it comes, without its line end.
        timeout: seconds.
        apart: keep standard error apart from standard output: for a program whose output is data.
        hold: the descriptor of a lock (see `toolchain.locking`) that the program holds as well, so that the lock is
        free only when it is gone, should this process be killed.

    Raises:
        SlipwayError: the program is not there, or did not end in time.
    """
    with tempfile.TemporaryFile() if apart else nullcontext() as errors:
        code, output = _run_to_end(argv, cwd, env, stdin, log, on_line, timeout, errors, hold)
        if errors is None:
            return ProcessResult(code, output)
        errors.seek(0)
        return ProcessResult(code, output, errors.read().decode(errors="replace"))


def stream_lines(argv: Sequence[str | Path], *, env: Mapping[str, str | None] | None = None) -> Iterator[str]:
    """Yield a program's lines as they come; it is ended when nobody wants more of them, and on Ctrl-C.

    Args:
        argv: program and arguments; no secret here.
        env: as for `run`.

    Raises:
        SlipwayError: the program is not there.
    """
    child = _start_child(argv, None, env, None, None, None)
    _running.add(child)
    try:
        assert child.stdout is not None
        for line in child.stdout:
            yield line.rstrip("\n")
    finally:
        _running.discard(child)
        end_process_group(child)


def run_attached(argv: Sequence[str | Path]) -> int:
    """Run a program that has this process's own standard streams, and return its exit status.

    What ends this process, ends it too: a Ctrl-C of the terminal reaches it anyway.

    Raises:
        SlipwayError: the program is not there.
    """
    child = _start_attached(argv)
    try:
        return child.wait()
    finally:
        _end_child(child)


@contextmanager
def passing_input(argv: Sequence[str | Path]) -> Iterator[None]:
    """Run a program that has this process's standard input, and whose output is nobody's, for the time of a `with`.

    Raises:
        SlipwayError: the program is not there.
    """
    child = _start_attached(argv, output=subprocess.DEVNULL)
    try:
        yield
    finally:
        _end_child(child)


def _start_attached(argv: Sequence[str | Path], output: int | None = None) -> subprocess.Popen[bytes]:
    words = [str(word) for word in argv]
    try:
        return subprocess.Popen(words, stdout=output, stderr=output)
    except OSError as error:
        raise SlipwayError(f"{words[0]} cannot be started: {error.strerror}") from error


def _end_child(child: subprocess.Popen[bytes]) -> None:
    """End a program; one that has ended is fine."""
    if child.poll() is None:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_SECONDS)
    if child.poll() is None:
        child.kill()
        child.wait()


def _run_to_end(
    argv: Sequence[str | Path],
    cwd: Path | None,
    env: Mapping[str, str | None] | None,
    stdin: str | None,
    log: Path | None,
    on_line: Callable[[str], None] | None,
    timeout: float | None,
    errors: IO[bytes] | None,
    hold: int | None,
) -> tuple[int, str]:
    words = [str(word) for word in argv]
    if _stopping.is_set() and threading.current_thread() is not threading.main_thread():
        raise SlipwayError(f"{words[0]} was not started: the work was stopped")
    child = _start_child(argv, cwd, env, stdin, errors, hold)
    _running.add(child)
    timed_out = threading.Event()

    def give_up() -> None:
        timed_out.set()
        end_process_group(child)

    timer = threading.Timer(timeout, give_up) if timeout else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        with track_session(child.pid, read_start_time(child.pid)):
            output = _read_output(child, stdin, log, on_line)
            code = child.wait()
    except BaseException:
        end_process_group(child)
        raise
    finally:
        _running.discard(child)
        if timer:
            timer.cancel()
    if timed_out.is_set():
        raise SlipwayError(f"{words[0]} did not finish within {timeout:.0f} s and was stopped", log=log)
    return code, output


def _start_child(
    argv: Sequence[str | Path],
    cwd: Path | None,
    env: Mapping[str, str | None] | None,
    stdin: str | None,
    errors: IO[bytes] | None,
    hold: int | None,
) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            [str(word) for word in argv],
            cwd=cwd,
            env=child_environment(env),
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors is None else errors,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            pass_fds=() if hold is None else (hold,),
        )
    except OSError as error:
        raise SlipwayError(
            f"cannot run {argv[0]}: {error.strerror}", remedy="Run `invoke doctor` to see what is missing."
        ) from error


def child_environment(variables: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Return the environment of a program that ends with this one: this process's own, its mark, and these variables.

    One that is None is taken out.
    """
    environment = {**os.environ, **process_mark(), **(variables or {})}
    return {name: value for name, value in environment.items() if value is not None}


def start_daemon(argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str]) -> int:
    """Start a program that outlives this one, in a session of its own, and return its process id.

    Args:
        argv: program and arguments; no secret here.
        log: a file that gets its output, appended.
        env: all of its variables: a daemon gets none of the user's by accident.

    Raises:
        SlipwayError: the program is not there.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(
                [str(word) for word in argv],
                cwd="/",  # else the folder that the user happens to stand in could not be unmounted or removed
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise SlipwayError(
                f"cannot run {argv[0]}: {error.strerror}", remedy="Run `invoke doctor` to see what is missing."
            ) from error
    _started[child.pid] = child
    return child.pid


def read_own_start_time() -> float:
    """Return when this process began, in seconds since 1970; this moment where the system does not tell."""
    status = read_status("self")
    if status is None:
        return time.time()
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(status.start_ticks) / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def reap_child(pid: int) -> None:
    """Let a program that `start_daemon` began, and that has ended, leave the process table."""
    if child := _started.get(pid):
        child.poll()


def end_process_group(child: subprocess.Popen[str]) -> None:
    """End a child's whole process group: politely, then for good; also what of it outlives the child itself.

    Whoever presses Ctrl-C meanwhile waits no longer.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
        try:
            while time.monotonic() < deadline:
                if child.poll() is not None:  # else it would keep its own group alive, as one that nobody asked
                    deadline = min(deadline, time.monotonic() + ORPHAN_SECONDS)
                os.killpg(child.pid, 0)
                time.sleep(POLL_SECONDS)
        finally:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    child.wait()


def end_all_children() -> None:
    """End what other threads run, and let them start nothing more: an interrupt reaches the main thread alone."""
    _stopping.set()
    children = list(_running)
    for child in children:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
    for child in children:
        end_process_group(child)


def _read_output(
    child: subprocess.Popen[str], stdin: str | None, log: Path | None, on_line: Callable[[str], None] | None
) -> str:
    if stdin is not None and child.stdin is not None:
        with suppress(BrokenPipeError):
            child.stdin.write(stdin)
            child.stdin.close()
    assert child.stdout is not None
    lines: list[str] = []
    with open_private(log) if log else nullcontext() as log_file:
        for line in child.stdout:
            lines.append(line)
            if log_file:
                log_file.write(mask(line))
                log_file.flush()
            if on_line:
                on_line(line.rstrip("\n"))
    return "".join(lines)
