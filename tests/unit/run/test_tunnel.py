"""A tunnel's life, with a program in the place of `ssh` that leads to an engine on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import PYTHONPATH

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import tunnel
from slipway._internal.run.tunnel import SshTunnel

SSH = """\
#!{python}
import os, socket, sys
local, _, remote = sys.argv[sys.argv.index("-L") + 1].partition(":") if "-L" in sys.argv else ("", "", "")
if not local:
    sys.exit("denied")
if not os.path.exists(remote):
    print("me@server: Permission denied (publickey).", file=sys.stderr)
    sys.exit(255)
listener = socket.socket(socket.AF_UNIX)
listener.bind(local)
listener.listen()
print("connected", file=sys.stderr)
while True:
    connection, _ = listener.accept()
    with connection, socket.socket(socket.AF_UNIX) as engine:
        engine.connect(remote)
        asked = connection.recv(1000)
        if asked:
            engine.sendall(asked)
            connection.sendall(engine.recv(1000))
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A program `ssh` that forwards, for sockets that have to have short paths."""
    (tmp_path / "ssh").write_text(SSH.format(python=sys.executable))
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # a socket's path has to be
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        yield Path(short)


@pytest.fixture
def engine(ssh: Path) -> Iterator[Path]:
    """A socket that answers as an engine does."""
    path = ssh / "there.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    if connection.recv(1000):
                        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nOK")

        threading.Thread(target=serve, daemon=True).start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)


def left(runtime: Path) -> list[str]:
    return [each.name for each in runtime.glob("slipway-*")]


def test_a_tunnel_leads_to_the_engine_and_leaves_nothing(ssh: Path, engine: Path) -> None:
    opened = SshTunnel(f"ssh://server{engine}")
    opened.open()
    assert opened.socket.parent.stat().st_mode & 0o777 == 0o700
    assert tunnel._is_engine_responding(opened.socket)
    opened.close()
    assert left(ssh) == []


def test_one_that_has_ended_is_opened_again_at_the_same_place(ssh: Path, engine: Path) -> None:
    opened = SshTunnel(f"ssh://server{engine}")
    opened.open()
    before, child = opened.socket, opened._child
    opened.open()
    assert child is not None and opened._child is child
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    opened.open()
    assert opened._child is not child and opened.socket == before
    assert tunnel._is_engine_responding(opened.socket)
    opened.close()
    assert left(ssh) == []


def test_it_ends_with_a_process_that_is_killed(ssh: Path, engine: Path) -> None:
    script = (
        "import sys; from slipway._internal.run.tunnel import open_tunnel; t = open_tunnel(sys.argv[1]);"
        "print(t._child.pid, flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    with subprocess.Popen(
        [sys.executable, "-c", script, f"ssh://server{engine}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        assert child.stdout is not None
        leader = int(child.stdout.readline())
        assert left(ssh)
        child.kill()
        child.wait()
    # `ssh` holds the leader, which is told to go by its closed input: it is not this test's to wait for.
    wait_gone(leader)
    assert left(ssh) == []


def wait_gone(leader: int) -> None:
    """Wait until no process of a group is left."""
    end = time.monotonic() + 60
    while True:
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < end, f"processes of {leader} are left"
        time.sleep(0.01)


def test_what_ssh_said_is_told_and_nothing_is_left(ssh: Path) -> None:
    with pytest.raises(SlipwayError, match="could not log in") as caught:
        SshTunnel("ssh://server/nothing.sock").open()
    assert "Permission denied" in caught.value.detail
    assert left(ssh) == []


def test_an_engine_that_is_silent_is_looked_at_on_the_server(ssh: Path, engine: Path) -> None:
    silent = ssh / "silent.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(silent))  # nobody listens there
        with pytest.raises(SlipwayError, match=r"may not use .*silent\.sock there"):
            SshTunnel(f"ssh://server{silent}").open()
    assert left(ssh) == []


def test_without_ssh_the_package_is_named(ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = SshTunnel("ssh://server")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SlipwayError, match="needs the program `ssh`") as caught:
        opened.open()
    assert "openssh-client" in caught.value.remedy


def test_a_folder_with_a_long_path_or_a_colon_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("x" * 100, "a:b"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / name))
        folder = tunnel._make_short_folder()
        folder.rmdir()
        assert folder.parent != tmp_path / name
