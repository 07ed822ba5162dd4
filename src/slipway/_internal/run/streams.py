"""The standard streams of this process: a failed write to them does not end the work.

A character that the output's encoding lacks becomes a question mark; a stream that is closed leads nowhere; one that
takes no more (a reader that went away, a full disk) is remembered, and the rest is dropped. What was lost is said at
the end, by `report_lost_output`.
"""

from __future__ import annotations

import atexit
import codecs
import errno
import io
import locale
import os
import select
import sys
from contextlib import suppress
from typing import Any, TextIO

STANDARD_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
"""The standard streams by their descriptors, and how each is opened."""
_reported: list[str] = []
"""Why standard output lost something, once that was said."""


class ResilientOutput(io.FileIO):
    """A descriptor that takes every write. `problem` is why it no longer passes them on; None while it does."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.problem: OSError | None = None
        self.raises_broken_pipe = False

    def write(self, data: Any) -> int:
        """Write what can be written; return the length of all of it.

        Raises:
            BrokenPipeError: nobody reads any more, and `raises_broken_pipe` is set.
        """
        size = len(memoryview(data).cast("B"))
        if self.problem:
            return size
        try:
            written = super().write(data)
            while written is None:  # somebody made the pipe non-blocking, and it is full
                select.select([], [self], [])
                written = super().write(data)
        except OSError as error:
            self.problem = error
            if self.raises_broken_pipe and error.errno == errno.EPIPE:
                raise
            return size
        return written


def secure_streams() -> None:
    """Replace this process's standard streams by ones that no write breaks; doing it twice changes nothing."""
    if isinstance(_descriptor_of(sys.stdout), ResilientOutput):
        return
    atexit.register(_exit_on_lost_output)
    _open_closed_descriptors()
    for descriptor, (name, mode) in enumerate(STANDARD_STREAMS):
        stream = getattr(sys, name)
        if mode == "w" and _is_standard(stream, descriptor):
            setattr(sys, name, _make_resilient(stream, descriptor))
        elif stream is None:
            setattr(sys, name, open(os.devnull, encoding="utf-8"))  # noqa: SIM115, PTH123 - it lives as long as we do


def end_with_reader() -> None:
    """Let a write to standard output raise BrokenPipeError once nobody reads it: for what goes on without end."""
    if isinstance(output := _descriptor_of(sys.stdout), ResilientOutput):
        output.raises_broken_pipe = True


def find_lost_output() -> str:
    """Return why standard output did not take everything, in the system's words; empty where it did.

    A reader that had enough (`| head`) has lost nothing.
    """
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    output = _descriptor_of(sys.stdout)
    problem = output.problem if isinstance(output, ResilientOutput) else None
    return "" if problem is None or problem.errno == errno.EPIPE else problem.strerror or str(problem)


def report_lost_output() -> bool:
    """Say on standard error, once, that standard output was not written in full; return whether that was said."""
    reason = "" if _reported else find_lost_output()
    if reason:
        _reported.append(reason)
        print(f"✘ standard output could not be written in full: {reason}", file=sys.stderr)
    return bool(reason)


def _exit_on_lost_output() -> None:
    """End with status 1 where output was lost that nobody has spoken of: that of `invoke --list`."""
    if report_lost_output():
        sys.stderr.flush()
        os._exit(1)


def require_utf8() -> None:
    """Start this program again in Python's UTF-8 mode where the locale has another encoding; else do nothing.

    Libraries open files and pipes in the locale's encoding; what goes to the terminal keeps it.
    """
    if sys.flags.utf8_mode or not sys.executable or codecs.lookup(locale.getencoding()).name == "utf-8":
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": f"{encoding}:replace"}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], environment)  # noqa: S606 - this very program


def _open_closed_descriptors() -> None:
    """Open standard descriptors that are closed on nothing: else the next file would become standard output."""
    for descriptor, (_, mode) in enumerate(STANDARD_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            os.set_inheritable(descriptor, True)


def _is_standard(stream: TextIO | None, descriptor: int) -> bool:
    """Whether a stream is the process's own, or missing: one that a test or a program has put there stays."""
    if stream is None:
        return True
    with suppress(OSError, ValueError, AttributeError):
        return type(stream) is io.TextIOWrapper and stream.fileno() == descriptor
    return False


def _make_resilient(stream: TextIO | None, descriptor: int) -> TextIO:
    """Return a stream in the other's encoding that passes on each line at once: a pipe's reader waits for it, too."""
    encoding = "utf-8"
    if isinstance(stream, io.TextIOWrapper):
        encoding = stream.encoding
        with suppress(OSError):
            stream.flush()
    buffer = io.BufferedWriter(ResilientOutput(descriptor))
    return io.TextIOWrapper(buffer, encoding=encoding, errors="replace", line_buffering=True)


def _descriptor_of(stream: Any) -> Any:
    return getattr(getattr(stream, "buffer", None), "raw", None)
