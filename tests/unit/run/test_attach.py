"""What is passed between this process's standard streams and a process in a container."""

from __future__ import annotations

import io
import os
import socket
import struct
import threading
from types import SimpleNamespace
from typing import Any, TextIO

import pytest

from slipway._internal.run import attach

INPUTS: list[TextIO] = []
"""What was standard input: a thread may still read it when its test is over, and its number is given to nobody else."""


class Connection:
    """One end of a socket pair as the Docker SDK returns it; `read_ahead` came with the answer's headers."""

    def __init__(self, read_ahead: bytes = b"") -> None:
        self._sock, self.engine = socket.socketpair()
        raw = io.BufferedReader(ReadAhead(self._sock, read_ahead))
        self._response = SimpleNamespace(raw=SimpleNamespace(_fp=SimpleNamespace(fp=raw)))


class ReadAhead(io.RawIOBase):
    """A socket of which the first bytes were read already."""

    def __init__(self, connection: socket.socket, first: bytes) -> None:
        self._connection, self._first = connection, first

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data, self._first = self._first or self._connection.recv(len(buffer)), b""
        buffer[: len(data)] = data
        return len(data)


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> int:
    """Standard input is a pipe; return the end to write to."""
    reading, writing = os.pipe()
    INPUTS.append(os.fdopen(reading, encoding="utf-8"))
    monkeypatch.setattr("sys.stdin", INPUTS[-1])
    return writing


def no_resize(_rows: int, _columns: int) -> None:
    raise AssertionError("there is no terminal")


def test_both_outputs_stay_apart_in_whatever_pieces_they_come(
    stdin: int, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    os.close(stdin)
    first, rest = frame(1, b"out ") + frame(2, b"err")[:5], frame(2, b"err")[5:] + frame(1, b"\xffput\n")
    connection = Connection(first)
    connection.engine.sendall(rest)
    connection.engine.shutdown(socket.SHUT_WR)
    attach.join_streams(connection, terminal=False, resize=no_resize)
    assert capfdbinary.readouterr() == (b"out \xffput\n", b"err")


def test_input_is_passed_on_and_so_is_its_end(stdin: int) -> None:
    connection = Connection()
    got = bytearray()

    def engine() -> None:
        while data := connection.engine.recv(4):
            got.extend(data)
        connection.engine.sendall(frame(1, b"done\n"))
        connection.engine.close()

    answering = threading.Thread(target=engine)
    answering.start()
    os.write(stdin, b"some input")
    os.close(stdin)
    attach.join_streams(connection, terminal=False, resize=no_resize)
    answering.join()
    assert bytes(got) == b"some input"


def test_a_connection_that_breaks_in_a_frame_ends_it(stdin: int, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    os.close(stdin)
    connection = Connection()
    connection.engine.sendall(frame(1, b"as far as this")[:-4])
    connection.engine.close()
    attach.join_streams(connection, terminal=False, resize=no_resize)
    assert capfdbinary.readouterr().out == b"as far as "
