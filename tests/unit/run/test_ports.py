"""Who holds a port is told by name, as far as it can be known; no name is looked up and no proxy is asked."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slipway._internal.run import ports


@pytest.fixture
def containers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the engine has; it is on this machine."""
    found: list[dict[str, Any]] = []
    api = SimpleNamespace(containers=lambda: found)
    monkeypatch.setattr(ports.engine, "client", lambda: SimpleNamespace(api=api))
    monkeypatch.setattr(ports.engine, "docker_errors", nullcontext)
    monkeypatch.setattr(ports.engine, "address", lambda: "unix:///var/run/docker.sock")
    return found


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def test_a_container_that_publishes_the_port_is_named(containers: list[dict[str, Any]]) -> None:
    containers += [
        {"Names": ["/other"], "Ports": [{"PrivatePort": 8080}]},
        {"Names": ["/shop-gateway"], "Ports": [{"PublicPort": 8080}]},
    ]
    assert ports.find_port_holder(8080) == "container shop-gateway"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells whose socket it is")
def test_a_process_that_listens_is_named_with_its_number(
    containers: list[dict[str, Any]], listening: socket.socket
) -> None:
    assert ports.find_port_holder(port_of(listening)).startswith(f"process {os.getpid()} (")


def test_of_another_machines_engine_only_containers_can_be_told(
    containers: list[dict[str, Any]], listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports.engine, "address", lambda: "ssh://ann@host")
    assert ports.find_port_holder(port_of(listening)) == ""
    assert not ports.is_port_taken("127.0.0.1", port_of(listening))
    containers.append({"Names": ["/web"], "Ports": [{"PublicPort": port_of(listening)}]})
    assert ports.is_port_taken("127.0.0.1", port_of(listening))


def test_a_port_is_taken_while_something_listens(containers: list[dict[str, Any]], listening: socket.socket) -> None:
    port = port_of(listening)
    assert ports.is_port_taken("127.0.0.1", port)
    listening.close()
    assert not ports.is_port_taken("127.0.0.1", port)


def test_an_address_that_cannot_be_had_for_another_reason_is_not_taken(
    containers: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(socket.socket):
        def bind(self, _address: Any) -> None:
            raise OSError(errno.EADDRNOTAVAIL, "no such address here")

    monkeypatch.setattr(ports.socket, "socket", Refusing)
    assert not ports.is_port_taken("192.0.2.1", 8080)


@pytest.mark.parametrize(
    ("host", "own"),
    [("localhost", True), ("127.0.0.1", True), ("192.0.2.1", False), ("forge.example", False), ("", False)],
)
def test_only_localhost_and_addresses_of_this_machine_are_its_own(host: str, own: bool) -> None:
    assert ports.is_own_address(host) is own


@pytest.mark.parametrize("answer", [b"HTTP/1.0 500 No\r\n\r\n", b"HTTP/1.0 204 Fine\r\n\r\n"])
def test_whatever_answers_http_counts(listening: socket.socket, answer: bytes) -> None:
    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    assert ports.answers_http(f"127.0.0.1:{port_of(listening)}")
    thread.join()


def test_what_speaks_otherwise_or_not_at_all_does_not_answer(listening: socket.socket) -> None:
    def serve() -> None:
        for _ in range(ports.MAX_HTTP_TRIES):
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    address = f"127.0.0.1:{port_of(listening)}"
    assert not ports.answers_http(address)
    thread.join()
    listening.close()
    assert not ports.answers_http(address)
