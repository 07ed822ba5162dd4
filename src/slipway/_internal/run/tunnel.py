"""One `ssh` for each server that this process deploys to: a unix socket here that leads to the engine there.

Docker's SDK has a way over SSH of its own, which starts an `ssh` for each connection and uses dead ones again.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import ssh
from slipway._internal.run.process import end_process_group, run

START_SECONDS, ANSWER_SECONDS = 90.0, 30.0
POLL_SECONDS = 0.01
SOCKET_NAME, LOG_NAME = "engine.sock", "ssh.log"
SOCKET_LIMIT = 100  # bytes; the kernel ends a unix socket's path at 108
NAME_BYTES = 40  # of folder and socket, with what `ssh` may add
LOG_LINES = 8
# The pipe that is its standard input is closed when this process ends, however that is: then `ssh` ends, and the
# folder goes. `$1` is the folder, the rest is the command.
SUPERVISOR = """\
folder=$1; shift
exec 3<&0 </dev/null
"$@" 3<&- &
tunnel=$!
{ read -r _ <&3; rm -rf "$folder"; kill "$tunnel"; } 2>/dev/null &
exec 3<&-
wait "$tunnel"
kill "$!"
"""
_tunnels: dict[str, SshTunnel] = {}
_tunnels_lock = threading.Lock()


class SshTunnel:
    """A tunnel to one server; it is started again where it has ended, and ends with this process."""

    def __init__(self, address: str) -> None:
        self._address, self._server = address, ssh.parse_address(address)
        self._folder = _make_short_folder()
        self._child: subprocess.Popen[str] | None = None

    @property
    def socket(self) -> Path:
        """The socket here that leads to the engine there."""
        return self._folder / SOCKET_NAME

    def open(self) -> None:
        """Start `ssh` if it does not run, and wait for its connection.

        Raises:
            SlipwayError: there is no `ssh`, or it does not get a connection.
        """
        if self._child and self._child.poll() is None:
            return
        if not shutil.which("ssh"):
            raise SlipwayError(
                f"{self._address} needs the program `ssh`",
                remedy="Install an SSH client (openssh-client on Debian and Ubuntu).",
            )
        self.close()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._child = self._start_ssh()
        deadline = time.monotonic() + START_SECONDS
        while not _is_listening(self.socket):
            if self._child.poll() is not None or time.monotonic() > deadline:
                output = self._read_log()
                self.close()
                raise ssh.connection_error(self._address, self._server, output)
            time.sleep(POLL_SECONDS)
        if not _is_engine_responding(self.socket):
            error = self._diagnose()
            self.close()
            raise error

    def close(self) -> None:
        """End `ssh` and remove the socket and its folder."""
        child, self._child = self._child, None
        if child and child.stdin:
            child.stdin.close()
            end_process_group(child)
        for name in (SOCKET_NAME, LOG_NAME):
            (self._folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            self._folder.rmdir()

    def _diagnose(self) -> SlipwayError:
        """Return why nothing answers at the socket, as far as the server tells."""
        state = ""
        with suppress(SlipwayError):
            words = run(ssh.inspect_command(self._server), timeout=START_SECONDS).output.split()
            state = words[-1] if words else ""
        return ssh.engine_error(self._address, self._server, self._read_log(), state)

    def _start_ssh(self) -> subprocess.Popen[str]:
        command = ssh.tunnel_command(self._server, str(self.socket))
        with (self._folder / LOG_NAME).open("w", encoding="utf-8") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", SUPERVISOR, "tunnel", str(self._folder), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C in a terminal ends it last: what ends before may need the engine
            )

    def _read_log(self) -> str:
        with suppress(OSError):
            text = (self._folder / LOG_NAME).read_text(encoding="utf-8", errors="replace")
            return "\n".join([line for line in text.splitlines() if line.strip()][-LOG_LINES:])
        return ""


def open_tunnel(address: str) -> SshTunnel:
    """Return the tunnel of this process to the server of an address `ssh://…`, connected.

    Raises:
        ConfigError: the address names no server.
        SlipwayError: `ssh` does not get a connection; the remedy says what to do.
    """
    with _tunnels_lock:
        if address not in _tunnels:
            _tunnels[address] = SshTunnel(address)
            atexit.register(_tunnels[address].close)
        _tunnels[address].open()
        return _tunnels[address]


def _is_listening(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        return True
    return False


def _is_engine_responding(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(str(path))
        connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
        return connection.recv(64).startswith(b"HTTP/")
    return False


def _make_short_folder() -> Path:
    """Make a folder that only this user may enter, and whose path is short enough for a socket."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp's
        fits = parent and ":" not in parent and len(os.fsencode(parent)) + NAME_BYTES <= SOCKET_LIMIT
        if fits and os.access(parent, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix="slipway-", dir=parent))
    raise SlipwayError("there is no folder with a short path for a socket", remedy="Set XDG_RUNTIME_DIR to one.")
