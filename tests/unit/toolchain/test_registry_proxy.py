"""The registry's doorkeeper: whose a connection is, who is let in, and that nothing of a stream is lost."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway._internal.toolchain import registry_proxy
from slipway._internal.toolchain.registry_proxy import connection_uid

pytestmark = pytest.mark.skipif(
    not registry_proxy.is_supported(), reason="the kernel does not tell whose a connection is"
)
ME = os.geteuid()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.mark.parametrize("look", [connection_uid, registry_proxy._read_tcp_table])
def test_a_connection_s_user_is_known_while_it_is_open_and_nobody_afterwards(
    listener: socket.socket, look: object
) -> None:
    assert callable(look)
    client = socket.create_connection(listener.getsockname())
    server, address = listener.accept()
    with server:
        assert look(address, server.getsockname()) == ME
        client.close()
        assert look(address, server.getsockname()) is None  # the kernel says 0 of it, which is root's number


@pytest.mark.parametrize("look", [connection_uid, registry_proxy._read_tcp_table])
def test_a_connection_that_was_only_half_closed_is_still_its_user_s(listener: socket.socket, look: object) -> None:
    assert callable(look)
    with socket.create_connection(listener.getsockname()) as client:
        server, address = listener.accept()
        with server:
            client.shutdown(socket.SHUT_WR)
            assert look(address, server.getsockname()) == ME
            server.recv(1)  # the other end has taken the end of the stream by now
            assert look(address, server.getsockname()) == ME


def test_a_client_that_speaks_ipv6_to_an_ipv4_address_is_known(listener: socket.socket) -> None:
    with socket.socket(socket.AF_INET6) as client:
        client.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
        server, address = listener.accept()
        with server:
            assert connection_uid(address, server.getsockname()) == ME


def test_where_the_kernel_answers_no_questions_its_table_is_read(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise OSError

    monkeypatch.setattr(registry_proxy, "_query_kernel", refused)
    with socket.create_connection(listener.getsockname()):
        server, address = listener.accept()
        with server:
            assert connection_uid(address, server.getsockname()) == ME


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Path]:
    """A server on a unix socket that gives back all that it gets, and then ends the connection."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    while part := connection.recv(1 << 16):
                        connection.sendall(part)

        threading.Thread(target=serve, daemon=True).start()
        yield path


def start(listener: socket.socket, path: Path, allowed: frozenset[int]) -> None:
    threading.Thread(target=registry_proxy.serve, args=(listener, str(path), allowed), daemon=True).start()


def received(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def test_what_this_user_sends_arrives_whole_and_so_does_the_answer(listener: socket.socket, behind: Path) -> None:
    start(listener, behind, frozenset({ME}))
    sent = os.urandom(3 << 20)
    with socket.create_connection(listener.getsockname()) as client:

        def send() -> None:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)

        threading.Thread(target=send, daemon=True).start()
        assert received(client) == sent


def test_whoever_is_not_allowed_is_told_so_and_nothing_of_it_is_passed_on(
    listener: socket.socket, behind: Path
) -> None:
    start(listener, behind, frozenset({ME + 1}))
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = received(client)
    assert answer.startswith(b"HTTP/1.1 403") and b"another user" in answer and b"GET" not in answer


def test_a_server_that_is_gone_ends_the_connection(listener: socket.socket, tmp_path: Path) -> None:
    start(listener, tmp_path / "nothing", frozenset({ME}))
    with socket.create_connection(listener.getsockname()) as client:
        assert received(client) == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_is_told_apart_from_root(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    child = os.fork()
    if child == 0:
        os.setresuid(65534, 65534, 65534)
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.recv(1)
        os._exit(0)
    server, address = listener.accept()
    with server:
        assert connection_uid(address, server.getsockname()) == 65534
    os.waitpid(child, 0)


def test_its_program_ends_with_it_and_it_with_its_program(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-I", "-S", registry_proxy.__file__, "127.0.0.1", str(port), str(tmp_path / "s")]
    assert subprocess.run([*command, "/bin/sh", "-c", "exit 7"], check=False).returncode == 7
    child = subprocess.Popen(
        [*command, "/bin/sh", "-c", "echo $$; exec /bin/sleep 600"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    number = int(child.stdout.readline())
    child.kill()
    child.wait()
    with pytest.raises(ProcessLookupError):
        while True:
            os.kill(number, 0)
            if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                raise ProcessLookupError


def test_a_port_that_is_taken_is_said_in_one_line(listener: socket.socket, tmp_path: Path) -> None:
    port = listener.getsockname()[1]
    command = [sys.executable, "-I", "-S", registry_proxy.__file__, "127.0.0.1", str(port), str(tmp_path / "s"), "true"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout.startswith(f"cannot listen on 127.0.0.1:{port}: ") and not result.stderr
