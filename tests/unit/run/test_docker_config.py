"""Docker's own configuration: which engine it names, which programs keep its logins, and what is wrong in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from slipway._internal.model.errors import ConfigError
from slipway._internal.run import docker_config


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def write(folder: Path, **config: object) -> None:
    (folder / "config.json").write_text(json.dumps(config))


def context(folder: Path, name: str, host: str) -> None:
    meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))


def test_without_any_configuration_it_is_this_machines_engine(folder: Path) -> None:
    assert docker_config.engine_address() == docker_config.DEFAULT_ADDRESS


def test_the_context_in_use_names_the_engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context(folder, "far", "ssh://me@far")
    context(folder, "other", "tcp://other:2375")
    write(folder, currentContext="far")
    assert docker_config.engine_address() == "ssh://me@far"
    monkeypatch.setenv("DOCKER_CONTEXT", "other")
    assert docker_config.engine_address() == "tcp://other:2375"
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert docker_config.engine_address() == docker_config.DEFAULT_ADDRESS


def test_a_context_that_does_not_exist_is_named_with_who_names_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, currentContext="gone")
    with pytest.raises(ConfigError, match=r"config\.json: currentContext is 'gone'"):
        docker_config.engine_address()
    monkeypatch.setenv("DOCKER_CONTEXT", "nope")
    with pytest.raises(ConfigError, match="DOCKER_CONTEXT is 'nope'"):
        docker_config.engine_address()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:2375", "tcp://", "tcp://host:port", "unix", "ftp://host"])
def test_an_address_that_is_none_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(ConfigError, match="DOCKER_HOST is"):
        docker_config.engine_address()


@pytest.mark.parametrize("text", ["{", "[]", "", '"x"', "\xff"])
def test_a_damaged_configuration_is_named(folder: Path, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"config\.json") as caught:
        docker_config.require_helper("127.0.0.1:5000")
    assert "DOCKER_CONFIG" in caught.value.remedy


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"credsStore": "absent"}, "credsStore"),
        ({"credHelpers": {"127.0.0.1:5000": "absent"}}, "credHelpers"),
        ({"credsStore": "there", "credHelpers": {"127.0.0.1:5000": "absent"}}, "credHelpers"),
        ({"credHelpers": {"gcr.io": "absent"}}, ""),
        ({"credsStore": "absent", "credHelpers": {"127.0.0.1:5000": ""}}, ""),
        ({"credsStore": "there"}, ""),
        ({"credsStore": ""}, ""),
        ({}, ""),
    ],
)
def test_a_missing_program_for_logins_is_named_where_it_would_be_asked(
    folder: Path, config: dict[str, object], key: str
) -> None:
    program = folder / "bin" / "docker-credential-there"
    program.parent.mkdir()
    program.touch(mode=0o755)
    write(folder, **config)
    if not key:
        return docker_config.require_helper("127.0.0.1:5000")
    with pytest.raises(ConfigError, match=f"`{key}` is 'absent', and docker-credential-absent is not on PATH"):
        docker_config.require_helper("127.0.0.1:5000")
    return None


@pytest.mark.parametrize(
    ("config", "left"),
    [
        ({"credsStore": "absent", "auths": {"ghcr.io": {"auth": "eDp5"}}}, {"auths": {"ghcr.io": {"auth": "eDp5"}}}),
        ({"credHelpers": {"127.0.0.1:5000": "absent", "gcr.io": "gcloud"}}, {"credHelpers": {"gcr.io": "gcloud"}}),
        ({"credsStore": "absent", "credHelpers": {"127.0.0.1:5000": "absent"}}, {"credHelpers": {}}),
        ({"credsStore": "absent", "currentContext": "far"}, {"currentContext": "far"}),
    ],
)
def test_for_a_registry_on_this_machine_a_missing_program_is_done_without(
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, object],
    left: dict[str, object],
) -> None:
    context(folder, "far", "ssh://me@far")
    write(folder, **config)
    before = docker_config.engine_address()
    copy = tmp_path_factory.mktemp("copy") / "docker"
    for _ in range(2):
        assert docker_config.without_missing_helper("127.0.0.1:5000", copy) == copy
    assert docker_config.config_folder() == folder, "it is passed on, and not exported"
    assert json.loads((copy / "config.json").read_text()) == left
    assert (copy / "config.json").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("DOCKER_CONFIG", str(copy))
    assert docker_config.engine_address() == before
    assert json.loads((folder / "config.json").read_text()) == config  # the user's own is never written


def test_a_program_that_is_there_is_asked(folder: Path, tmp_path: Path) -> None:
    program = folder / "bin" / "docker-credential-there"
    program.parent.mkdir()
    program.touch(mode=0o755)
    write(folder, credsStore="there")
    assert docker_config.without_missing_helper("127.0.0.1:5000", tmp_path / "copy") is None
