"""What in the environment would break the work is mended or refused, for this process and for all that it starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from slipway._internal.model.errors import ConfigError
from slipway._internal.run import process_environment
from slipway._internal.run.process_environment import sanitize_environment


@pytest.fixture
def around(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home"), "PATH": "/bin"}


@pytest.mark.parametrize("proxy", ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "grpc_proxy"])
def test_loopback_never_goes_through_a_proxy(tmp_path: Path, around: dict[str, str], proxy: str) -> None:
    around[proxy] = "http://127.0.0.1:1"
    sanitize_environment(tmp_path, around)
    for name in ("no_proxy", "NO_PROXY"):
        assert {"localhost", "127.0.0.1", "127.0.0.0/8", "::1"} <= set(around[name].split(","))


@pytest.mark.parametrize("given", [{"no_proxy": "a.example"}, {"NO_PROXY": "a.example,"}])
def test_the_users_own_exceptions_stay(tmp_path: Path, around: dict[str, str], given: dict[str, str]) -> None:
    around.update(given, HTTPS_PROXY="http://proxy:3128", no_grpc_proxy="b.example")
    sanitize_environment(tmp_path, around)
    sanitize_environment(tmp_path, around)
    entries = around["no_proxy"].split(",")
    assert entries[0] == "a.example"
    assert len(entries) == len(set(entries))
    assert around["NO_PROXY"] == around["no_proxy"]
    assert around["no_grpc_proxy"].split(",")[:2] == ["b.example", "localhost"]


def test_both_spellings_of_the_exceptions_are_joined(tmp_path: Path, around: dict[str, str]) -> None:
    around.update(no_proxy="a.example", NO_PROXY="b.example", http_proxy="http://proxy:3128")
    sanitize_environment(tmp_path, around)
    assert around["no_proxy"].startswith("a.example,b.example,localhost")


def test_without_a_proxy_there_is_nothing_to_except(tmp_path: Path, around: dict[str, str]) -> None:
    sanitize_environment(tmp_path, around)
    assert not {"no_proxy", "NO_PROXY"} & around.keys()


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://127.0.0.1:8080/api", False),
        ("http://127.9.9.9:5000/v2/", False),
        ("http://localhost:8080/", False),
        ("http://[::1]:8080/", False),
        ("https://ghcr.io/v2/", True),
        ("http://10.1.2.3/", True),
    ],
)
def test_requests_asks_the_proxy_for_other_machines_alone(
    tmp_path: Path, around: dict[str, str], monkeypatch: pytest.MonkeyPatch, url: str, asked: bool
) -> None:
    around.update(HTTPS_PROXY="http://proxy:3128", HTTP_PROXY="http://proxy:3128", ALL_PROXY="socks5h://proxy:1080")
    sanitize_environment(tmp_path, around)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in around.items():
        monkeypatch.setenv(name, value)
    assert bool(requests.utils.get_environ_proxies(url)) is asked


@pytest.mark.parametrize("name", [*process_environment.OVERRIDDEN_VARIABLES, "PULUMI_OPTION_JSON"])
def test_what_slipway_says_itself_is_not_the_environments_to_say(
    tmp_path: Path, around: dict[str, str], name: str
) -> None:
    sanitize_environment(tmp_path, around := {**around, name: "0"})
    assert name not in around


@pytest.mark.parametrize("name", process_environment.UNSET_WHEN_EMPTY)
def test_an_empty_variable_is_one_that_is_not_set(tmp_path: Path, around: dict[str, str], name: str) -> None:
    sanitize_environment(tmp_path, around := {**around, name: " "})
    assert name not in around


def test_an_empty_passphrase_gives_way_to_the_workspaces_own(tmp_path: Path, around: dict[str, str]) -> None:
    around["PULUMI_CONFIG_PASSPHRASE"] = ""
    sanitize_environment(tmp_path, around)
    assert around["PULUMI_CONFIG_PASSPHRASE"] == ""  # who wants no passphrase has none
    (tmp_path / ".slipway").mkdir()
    (tmp_path / ".slipway" / "passphrase").write_text("made once")
    sanitize_environment(tmp_path, around)
    assert "PULUMI_CONFIG_PASSPHRASE" not in around


def test_paths_hold_from_every_folder(tmp_path: Path, around: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "phrase").write_text("x")
    around.update(PULUMI_CONFIG_PASSPHRASE_FILE="phrase", DOCKER_CONFIG="docker")
    sanitize_environment(tmp_path, around)
    assert around["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(tmp_path / "phrase")
    assert around["DOCKER_CONFIG"] == str(tmp_path / "docker")


def test_home_is_the_users_where_it_is_not_set(tmp_path: Path, around: dict[str, str]) -> None:
    del around["HOME"]
    sanitize_environment(tmp_path, around)
    assert Path(around["HOME"]).is_dir()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HOME", "/nowhere"),
        ("TMPDIR", "/nowhere"),
        ("TMPDIR", "/dev/null"),
        ("PULUMI_CONFIG_PASSPHRASE_FILE", "/nowhere"),
        ("XDG_CACHE_HOME", "/dev/null/cache"),
        ("XDG_STATE_HOME", "/dev/null/state"),
    ],
)
def test_a_variable_that_names_nothing_is_refused_by_name(
    tmp_path: Path, around: dict[str, str], variable: str, value: str
) -> None:
    around[variable] = value
    with pytest.raises(ConfigError) as caught:
        sanitize_environment(tmp_path, around)
    assert variable in f"{caught.value.message} {caught.value.remedy}"
    assert value in caught.value.message


def test_a_relative_folder_for_caches_is_none(tmp_path: Path, around: dict[str, str]) -> None:
    sanitize_environment(tmp_path, around := {**around, "XDG_CACHE_HOME": "cache"})
    assert "XDG_CACHE_HOME" not in around


def test_a_home_that_this_user_may_not_look_into_is_named(
    tmp_path: Path, around: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, whole = Path(around["HOME"]), Path.stat

    def stat(path: Path, **options: bool) -> object:
        if path != home and path.is_relative_to(home):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(process_environment.os, "access", lambda path, _mode: path != home)
    with pytest.raises(ConfigError, match="may not write"):
        sanitize_environment(tmp_path, around)
