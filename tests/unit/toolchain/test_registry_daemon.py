"""The loopback registry: used when one answers, and never started in another program's place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from slipway._internal.model.errors import ConfigError
from slipway._internal.toolchain import registry_daemon
from slipway._internal.toolchain.registry_daemon import (
    LocalRegistry,
    ensure_local_registry,
    find_listener,
    registry_config,
    split_address,
)

Serve = Callable[[int, dict[str, str]], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answer every request on a free port with a status and headers."""
    servers = []

    def start(status: int, headers: dict[str, str]) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [200, 401])
def test_a_registry_that_answers_is_used_as_it_is(serve: Serve, status: int) -> None:
    port = serve(status, {"Docker-Distribution-Api-Version": "registry/2.0"})
    assert ensure_local_registry(f"127.0.0.1:{port}/team") == LocalRegistry(
        f"127.0.0.1:{port}", started_by_slipway=False
    )


@pytest.mark.parametrize("status", [200, 404])
def test_a_port_that_something_else_has_is_a_configuration_error_naming_it(serve: Serve, status: int) -> None:
    port = serve(status, {})
    with pytest.raises(ConfigError, match=f"port {port} .* not a registry") as caught:
        ensure_local_registry(f"127.0.0.1:{port}")
    assert "workspace.toml: registry" in caught.value.remedy
    assert "process " in caught.value.message


def test_a_registry_of_another_user_is_a_configuration_error_that_says_so(serve: Serve) -> None:
    port = serve(403, {"Docker-Distribution-Api-Version": "registry/2.0"})
    with pytest.raises(ConfigError, match=f"registry on port {port} .* belongs to another user") as caught:
        ensure_local_registry(f"127.0.0.1:{port}")
    assert "another port" in caught.value.remedy


def test_the_process_that_listens_on_a_port_is_found(serve: Serve) -> None:
    import os

    assert find_listener(serve(200, {})).endswith(f"process {os.getpid()}")
    assert find_listener(1) == ""


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:5000", ("127.0.0.1", 5000)),
        ("localhost:5001/team/a", ("localhost", 5001)),
        ("[::1]:5000", ("[::1]", 5000)),
        ("localhost", ("localhost", 80)),
    ],
)
def test_host_and_port_are_read_from_a_registry_s_address(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


def test_the_configuration_binds_loopback_and_allows_deletion() -> None:
    read = yaml.safe_load(registry_config("127.0.0.1:5000", Path("/data dir")))
    assert read["http"] == {"net": "tcp", "addr": "127.0.0.1:5000"}
    assert yaml.safe_load(registry_config(Path("/s"), Path("/d")))["http"] == {"net": "unix", "addr": "/s"}
    assert read["storage"] == {"delete": {"enabled": True}, "filesystem": {"rootdirectory": "/data dir"}}


def test_each_port_has_a_registry_with_data_of_its_own() -> None:
    assert registry_daemon.state_folder(5000) != registry_daemon.state_folder(5001)
