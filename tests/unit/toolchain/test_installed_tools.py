"""Tools that are there already: on PATH in an accepted version, or in the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slipway._internal.toolchain import installed_tools
from slipway._internal.toolchain.installed_tools import (
    ToolUnavailable,
    find_beside,
    find_cached,
    find_on_path,
    read_version,
)
from slipway._internal.toolchain.paths import tools_path
from slipway._internal.toolchain.tool_catalog import Tool

Program = Callable[..., Path]

TOOL = Tool("crane", "2.1.0", ("crane",), accepts="2.0.0", read=("version",))


def in_cache(version: str) -> Path:
    path = tools_path() / "crane" / version / "crane"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("says", ["2.0.0", "v2.0.0", "crane github.com/acme v2.9.1 abc", "3.0.0-dev"])
def test_an_accepted_version_on_path_is_used(program: Program, says: str) -> None:
    path = program("crane", says)
    assert find_on_path(TOOL) == path


@pytest.mark.parametrize(
    ("says", "why"), [("1.9.9", "1.9.9, at least 2.0.0"), ("(devel)", "does not report its version")]
)
def test_any_other_version_on_path_is_passed_over_saying_why(program: Program, says: str, why: str) -> None:
    program("crane", says)
    with pytest.raises(ToolUnavailable, match=why):
        find_on_path(TOOL)


def test_without_the_program_the_reason_says_so() -> None:
    with pytest.raises(ToolUnavailable, match="there is no crane"):
        find_on_path(TOOL)


def test_a_tool_of_several_binaries_needs_all_of_them_in_one_folder(program: Program) -> None:
    both = Tool("kit", "1.0.0", ("kitd", "kitctl"), accepts="1.0.0", read=("version",))
    program("kitd", "1.0.0")
    with pytest.raises(ToolUnavailable):
        find_on_path(both)
    program("kitctl", "1.0.0")
    assert find_on_path(both).name == "kitd"


def test_a_folder_where_installers_put_it_counts_as_path(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program("crane", "2.0.0")
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_on_path(Tool("crane", "2.1.0", ("crane",), "2.0.0", ("version",), also_in=(str(path.parent),))) == path


def test_a_tool_that_cannot_tell_is_only_taken_from_a_folder_named_by_its_version(
    program: Program, tmp_path: Path
) -> None:
    dumb = Tool("plugin", "2.1.0", ("plugin",), also_in=(f"{tmp_path}/plugin-v2.1.0",))
    program("plugin", folder="plugin-v2.1.0")
    assert find_on_path(dumb) == tmp_path / "plugin-v2.1.0" / "plugin"
    with pytest.raises(ToolUnavailable, match="does not report its version"):
        find_on_path(Tool("plugin", "2.2.0", ("plugin",), also_in=dumb.also_in))


def test_a_version_is_asked_for_once_and_again_when_the_program_changes(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program("crane", "2.0.0")
    assert read_version(TOOL, path) == "2.0.0"
    with monkeypatch.context() as patch:
        patch.setattr(installed_tools, "_run_version", lambda *_: pytest.fail("asked again"))
        assert read_version(TOOL, path) == "2.0.0"
    program("crane", "2.0.10")
    assert read_version(TOOL, path) == "2.0.10"


def test_a_wrapper_that_setup_wrote_is_no_tool(program: Program) -> None:
    path = program("crane", "2.0.0")
    path.write_text("#!/bin/sh\n# Written by `invoke setup`: …\necho 2.0.0\n", encoding="utf-8")
    with pytest.raises(ToolUnavailable, match="there is no crane"):
        find_on_path(TOOL)


def test_a_link_to_what_an_earlier_slipway_installed_is_passed_over(program: Program) -> None:
    link = program("crane")
    link.unlink()
    link.symlink_to(in_cache("2.0.5"))
    with pytest.raises(ToolUnavailable):
        find_on_path(TOOL)


def test_a_link_to_the_pinned_version_in_the_cache_is_used_without_asking(program: Program) -> None:
    link = program("crane")
    link.unlink()
    link.symlink_to(in_cache("2.1.0"))
    assert find_on_path(TOOL) == link


def test_the_cache_gives_the_pinned_version_and_no_other() -> None:
    in_cache("2.0.5")
    with pytest.raises(ToolUnavailable, match=r"2\.1\.0 is not in"):
        find_cached(TOOL)
    assert find_cached(TOOL) if in_cache("2.1.0") else None


def test_a_companion_is_found_next_to_the_tool_that_brings_it(program: Program) -> None:
    host = Tool("host", "1.0.0", ("host",), beside="crane")
    crane = program("crane", "2.1.0")
    with pytest.raises(ToolUnavailable, match="no host beside"):
        find_beside(host, crane)
    assert program("host") == find_beside(host, crane)
