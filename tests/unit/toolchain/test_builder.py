"""BuildKit and its buildx builder: configuration, commands and what is known already."""

from __future__ import annotations

import json
import os
import socket
import tomllib
from pathlib import Path

import pytest

from slipway._internal.toolchain import builder
from slipway._internal.toolchain.builder import (
    Builder,
    buildkitd_config,
    create_command,
    is_responding,
    read_registered_endpoint,
    socket_path,
)


def test_the_configuration_keeps_everything_in_its_folder_and_cleans_up() -> None:
    read = tomllib.loads(buildkitd_config(Path("/state/data"), Path("/state/b.sock"), 2))
    assert read["root"] == "/state/data"
    assert read["grpc"]["address"] == ["unix:///state/b.sock"]
    worker = read["worker"]["oci"]
    assert worker["gc"]
    assert worker["maxUsedSpace"]
    assert worker["max-parallelism"] == 4
    assert read["system"]["platformsCacheMaxAge"] == "0s"  # never from memory: an emulator may have just come


def test_a_builder_of_buildkit_s_process_is_a_remote_one() -> None:
    argv = create_command(Path("/b/docker-buildx"), ("remote", "unix:///s"), "1.2.3")
    assert argv == ["/b/docker-buildx", "create", "--name", "slipway", "--driver", "remote", "unix:///s"]


def test_without_root_the_builder_runs_in_the_engine_pinned_and_in_the_host_s_network() -> None:
    argv = create_command(Path("/b/docker-buildx"), ("docker-container", ""), "1.2.3")
    assert argv[-2:] == ["--driver-opt=image=moby/buildkit:v1.2.3", "--driver-opt=network=host"]


def test_buildx_never_sees_the_user_s_own_folder(tmp_path: Path) -> None:
    made = Builder("slipway", "unix:///s", builder.buildx_folder(), started_by_slipway=True)
    assert made.env == {"BUILDX_CONFIG": str(tmp_path / "state/slipway/buildx"), "BUILDX_BUILDER": "slipway"}


def test_a_socket_whose_path_would_be_too_long_moves_to_a_short_folder_that_stays_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert socket_path() == Path("/s/slipway/buildkitd/buildkitd.sock")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("long" * 30)))
    assert len(os.fsencode(socket_path())) < 108
    assert socket_path() == socket_path()


@pytest.mark.parametrize(
    ("content", "endpoint"),
    [
        ({"Driver": "remote", "Nodes": [{"Endpoint": "unix:///s"}]}, ("remote", "unix:///s")),
        ({"Driver": "docker-container", "Nodes": [{"Endpoint": "x"}]}, ("docker-container", "")),
        ({"Driver": "remote", "Nodes": []}, None),
        ([], None),
    ],
)
def test_what_buildx_has_written_down_is_read_without_starting_it(
    tmp_path: Path, content: object, endpoint: tuple[str, str] | None
) -> None:
    (tmp_path / "instances").mkdir()
    (tmp_path / "instances" / "slipway").write_text(json.dumps(content))
    assert read_registered_endpoint(tmp_path) == endpoint


def test_a_socket_file_that_nobody_serves_does_not_count_as_up(tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    assert not is_responding(path)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    assert not is_responding(path)
    server.listen(1)
    assert is_responding(path)
    server.close()
    assert not is_responding(path)
