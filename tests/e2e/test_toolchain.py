"""The toolchain for real: registry and BuildKit start, take a build, come back, and only ours are ended."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway._internal.run.process import run
from slipway._internal.toolchain import background, builder, docker_daemon, registry_daemon, registry_proxy
from slipway._internal.toolchain.install import ensure_tool
from slipway._internal.toolchain.registry_daemon import LocalRegistry

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="BuildKit as a process needs root"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A state folder and a port of this test's own; whatever it started is ended afterwards."""
    for name in ("registry", "buildkit", "docker-buildx"):
        ensure_tool(name)
    with socket.socket() as probe, pytest.MonkeyPatch.context() as patch:
        probe.bind(("127.0.0.1", 0))
        free = f"127.0.0.1:{probe.getsockname()[1]}"
        probe.close()
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield free
        registry_daemon.stop_local_registry(free)
        builder.stop_builder()


def test_the_engine_answers() -> None:
    assert docker_daemon.ensure_engine().address == docker_daemon.address()
    assert docker_daemon.plan_setup() == ()


def test_registry_and_builder_take_a_build_and_its_push(address: str, tmp_path: Path) -> None:
    assert registry_daemon.ensure_local_registry(address) == LocalRegistry(address, started_by_slipway=True)
    made = builder.ensure_builder()
    assert made.started_by_slipway
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    ref = f"{address}/demo/thing:one"
    result = run([ensure_tool("docker-buildx"), "build", "--push", "--tag", ref, tmp_path], env=made.env)
    assert result.code == 0, result.output
    assert _status(address, "HEAD", "/v2/demo/thing/manifests/one") == 200


PUSH = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=10)
connection.request("POST", "/v2/demo/thing/blobs/uploads/")
print(connection.getresponse().status)
connection.request("GET", "/v2/demo/thing/manifests/one")
print(connection.getresponse().status)
"""


def test_another_user_of_this_machine_may_neither_push_to_the_registry_nor_pull(address: str) -> None:
    registry_daemon.ensure_local_registry(address)
    python = ["/usr/bin/env", "-i", "/usr/bin/python3", "-c", PUSH, address]
    nobody = subprocess.run(
        python, user=65534, group=65534, extra_groups=[], capture_output=True, text=True, cwd="/", check=False
    )
    assert nobody.stdout.split()[:1] == ["403"]
    assert "404" not in nobody.stdout and "200" not in nobody.stdout
    assert subprocess.run(python, capture_output=True, text=True, cwd="/", check=False).stdout.split()[0] == "202"


def test_a_registry_that_an_earlier_slipway_left_open_to_all_is_closed_and_keeps_its_images(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry_daemon.stop_local_registry(address)
    with monkeypatch.context() as patch:
        patch.setattr(registry_proxy, "is_supported", lambda: False)
        assert registry_daemon.ensure_local_registry(address).started_by_slipway
    home = registry_daemon.state_folder(registry_daemon.split_address(address)[1])
    before = background.find_running(home)
    assert registry_daemon.ensure_local_registry(address).started_by_slipway
    assert background.find_running(home) != before
    assert _status(address, "HEAD", "/v2/demo/thing/manifests/one") == 200


def test_when_everything_is_up_a_look_takes_no_time(address: str) -> None:
    registry_daemon.ensure_local_registry(address)
    builder.ensure_builder()
    start = time.perf_counter()
    registry_daemon.ensure_local_registry(address)
    builder.ensure_builder()
    assert time.perf_counter() - start < 0.1


@pytest.mark.parametrize("daemon", ["registry", "buildkitd"])
def test_what_was_killed_comes_back_with_its_data(address: str, daemon: str) -> None:
    registry_daemon.ensure_local_registry(address)
    builder.ensure_builder()
    port = registry_daemon.split_address(address)[1]
    victim = background.find_running(
        registry_daemon.state_folder(port) if daemon == "registry" else builder.state_folder()
    )
    assert victim is not None
    os.kill(victim.pid, signal.SIGKILL)
    while background.read_living_start_time(victim.pid):
        time.sleep(0.01)
    assert registry_daemon.ensure_local_registry(address).started_by_slipway
    assert builder.ensure_builder().started_by_slipway
    assert builder.is_responding(builder.socket_path())
    assert _status(address, "HEAD", "/v2/demo/thing/manifests/one") == 200


def test_a_registry_of_somebody_else_is_used_and_never_ended(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry_daemon.ensure_local_registry(address)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert registry_daemon.ensure_local_registry(address) == LocalRegistry(address, started_by_slipway=False)
    assert not registry_daemon.stop_local_registry(address)
    assert _status(address, "GET", "/v2/") == 200


def test_stop_ends_what_was_started_once(address: str) -> None:
    registry_daemon.ensure_local_registry(address)
    builder.ensure_builder()
    assert registry_daemon.stop_local_registry(address)
    assert builder.stop_builder()
    assert not registry_daemon.stop_local_registry(address)
    assert not builder.stop_builder()


def _status(address: str, method: str, path: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=5)
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    connection.request(method, path, headers={"Accept": accept})
    status = connection.getresponse().status
    connection.close()
    return status
