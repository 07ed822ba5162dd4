"""Joins this process's standard streams to those of a process in a container, as `docker exec` and `docker run` do.

With a terminal, keys go through as they are pressed, and the size follows that of the window; without one, standard
output and error stay apart, and the end of standard input is passed on.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import struct
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

HEADER = struct.Struct(">BxxxL")
STDOUT_STREAM, STDERR_STREAM = 1, 2
"""The numbers by which the engine marks what was written to standard output, and to standard error."""
CHUNK_BYTES = 64 * 1024

Resize = Callable[[int, int], None]
"""Tells a process in a container that its terminal has so many rows and columns."""


def is_interactive() -> bool:
    """Return whether standard input and output are both a terminal's."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def join_streams(connection: Any, *, terminal: bool, resize: Resize) -> None:
    """Pass data between this process's standard streams and a connection of the engine's, until the process ends.

    Args:
        connection: what the Docker SDK returns for `socket=True`.
        terminal: whether the process has a terminal; so has this one then.
        resize: called with the window's size now, and whenever it changes.
    """
    threading.Thread(target=_send_input, args=(connection, sys.stdin.fileno()), daemon=True).start()
    with _raw_terminal(resize) if terminal else nullcontext():
        for stream, data in _read_frames(connection, terminal):
            target = sys.stderr if stream == STDERR_STREAM else sys.stdout
            target.buffer.write(data)
            target.flush()


def _send_input(connection: Any, descriptor: int) -> None:
    """Send what comes on standard input, and at its end say that nothing more will come."""
    sender = getattr(connection, "_sock", connection)
    with suppress(OSError, ValueError):  # the process has ended
        while data := os.read(descriptor, CHUNK_BYTES):
            sender.sendall(data)
        sender.shutdown(socket.SHUT_WR)


def _read_frames(connection: Any, terminal: bool) -> Iterator[tuple[int, bytes]]:
    """Yield what the process writes, and to which stream, until it ends.

    Without a terminal each piece has a header: a byte for the stream, three of nothing, four for the length (Docker
    Engine API, "Attach to a container"). The reader of the answer's headers may have read more than those already.
    """
    reader: io.BufferedReader = connection._response.raw._fp.fp
    while terminal and (data := reader.read1(CHUNK_BYTES)):
        yield STDOUT_STREAM, data
    while len(header := reader.read(HEADER.size)) == HEADER.size:
        stream, left = HEADER.unpack(header)
        while left and (data := reader.read1(min(left, CHUNK_BYTES))):
            left -= len(data)
            yield stream, data


@contextmanager
def _raw_terminal(resize: Resize) -> Iterator[None]:
    """Have each key reach the process at once, Ctrl-C too, for the time of a `with`; the terminal is put back after."""

    def follow(*_signal: object) -> None:
        columns, rows = shutil.get_terminal_size()
        with suppress(Exception):  # a size that does not arrive ends nobody's work
            resize(rows, columns)

    descriptor = sys.stdin.fileno()
    before, handler = termios.tcgetattr(descriptor), signal.getsignal(signal.SIGWINCH)
    try:
        tty.setraw(descriptor)
        signal.signal(signal.SIGWINCH, follow)
        follow()
        yield
    finally:
        signal.signal(signal.SIGWINCH, handler)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
