"""Stands before the registry on this machine: it lets in who runs under this user or root, and nobody else.

A program of its own, of Python's standard library alone: `doorkeeper.py HOST PORT SOCKET PROGRAM ARGUMENT…` runs the
program, which serves on a unix socket that only this user can open, and passes TCP connections on to it. Whose a
connection is the kernel says (/proc/net/tcp), so there is no password that clients would need and that could be lost.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, ALL_STATES = 4, 20, 1, (1 << 32) - 1
PIPE_BYTES = 1 << 16
BACKLOG = 512
READY_SECONDS, END_SECONDS = 20.0, 10.0
PR_SET_PDEATHSIG = 1
TCP_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
REFUSAL_BODY = b'{"errors":[{"code":"DENIED","message":"this registry belongs to another user of this machine"}]}\n'
REFUSAL = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nDocker-Distribution-Api-Version: registry/2.0\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(REFUSAL_BODY), REFUSAL_BODY)
)


def is_supported() -> bool:
    """Return whether the kernel tells whose a connection is: Linux does."""
    return sys.platform == "linux" and all(Path(table).is_file() for table in TCP_TABLES[:1])


def connection_uid(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Return the number of the user whose connection comes from an address of this machine; None when unknown.

    A connection that its client has closed already belongs to nobody: the kernel says user 0 and inode 0 of it then,
    and this 0 is not root. One that its client has only half closed, after its request, is still its user's.
    """
    with suppress(OSError, struct.error):
        return _query_kernel(client, server)
    return _read_tcp_table(client, server)


def _query_kernel(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Ask the kernel for this one connection (sock_diag(7)).

    Raises:
        OSError, struct.error: it does not tell in this way.
    """
    family = socket.AF_INET6 if ":" in client[0] else socket.AF_INET
    endpoints = struct.pack(">HH", client[1], server[1])
    endpoints += b"".join(socket.inet_pton(family, host).ljust(16, b"\0") for host in (client[0], server[0]))
    query = (
        struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, ALL_STATES)
        + endpoints
        + struct.pack("=III", 0, ALL_STATES, ALL_STATES)
    )
    header = struct.pack("=IHHII", 16 + len(query), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(2)
        kernel.send(header + query)
        reply = kernel.recv(1 << 13)
    kind, (uid, inode) = struct.unpack_from("=H", reply, 4)[0], struct.unpack_from("=II", reply, 80)
    if kind != SOCK_DIAG_BY_FAMILY or reply[20:56] != endpoints:  # another family's words for it, or none
        raise OSError("the kernel names no such connection")
    return int(uid) if inode else None


def _read_tcp_table(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Look the connection up in the table of all: where the kernel answers no questions, it takes some milliseconds."""
    address_pairs = [(_proc_address(*client, wide), _proc_address(*server, wide)) for wide in (False, True)]
    for table, pair in ((table, pair) for pair in address_pairs for table in TCP_TABLES):
        with suppress(OSError), Path(table).open(encoding="ascii") as lines:
            for line in lines:
                fields = line.split(None, 10)
                if fields[1:3] == list(pair):
                    return int(fields[7]) if int(fields[9]) else None
    return None


def _proc_address(host: str, port: int, wide: bool) -> str:
    """Return an address as /proc/net has it; `wide`: in the table of IPv6."""
    if ":" in host:
        packed = socket.inet_pton(socket.AF_INET6, host)
    else:
        packed = socket.inet_aton(host)
        packed = b"\0" * 10 + b"\xff\xff" + packed if wide else packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return f"{''.join(f'{word:08X}' for word in words)}:{port:04X}"


def serve(listener: socket.socket, path: str, allowed: frozenset[int]) -> None:
    """Take connections for ever, and pass on those of the users that are allowed."""
    while True:
        try:
            client, address = listener.accept()
        except OSError:
            time.sleep(0.05)  # out of descriptors, or gone before it was taken
            continue
        threading.Thread(target=_handle_connection, args=(client, address, path, allowed), daemon=True).start()


def _handle_connection(client: socket.socket, address: Any, path: str, allowed: frozenset[int]) -> None:
    with client, suppress(OSError):
        if connection_uid(address[:2], client.getsockname()[:2]) not in allowed:
            client.settimeout(2)
            client.recv(PIPE_BYTES)  # else the answer is lost where the request is still under way
            client.sendall(REFUSAL)
            client.shutdown(socket.SHUT_WR)
            client.recv(PIPE_BYTES)
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(path)
            back = threading.Thread(target=_forward, args=(server, client), daemon=True)
            back.start()
            _forward(client, server)
            back.join()


def _forward(source: socket.socket, target: socket.socket) -> None:
    """Let the kernel move bytes from one socket to the other until the first has no more."""
    reading, writing = os.pipe()
    try:
        while moved := os.splice(source.fileno(), writing, PIPE_BYTES):
            while moved:
                moved -= os.splice(reading, target.fileno(), moved)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
    finally:
        os.close(reading)
        os.close(writing)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(host: str, port: int, path: str, command: list[str]) -> int:
    """Run the program and stand before it until either ends; return the exit code."""
    os.umask(0o077)
    with suppress(FileNotFoundError):
        Path(path).unlink()
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        print(f"cannot listen on {host}:{port}: {error.strerror}", flush=True)
        return 1
    child = subprocess.Popen(command, preexec_fn=_die_with_parent)  # noqa: PLW1509 - no thread runs yet

    def finish(*_: object) -> None:
        child.terminate()

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    deadline = time.monotonic() + READY_SECONDS
    while not Path(path).exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    listener.listen(BACKLOG)  # not before: connections are refused until the registry answers
    allowed = frozenset({0, os.geteuid()})
    threading.Thread(target=serve, args=(listener, path, allowed), daemon=True).start()
    code = child.wait()
    with suppress(FileNotFoundError):
        Path(path).unlink()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
