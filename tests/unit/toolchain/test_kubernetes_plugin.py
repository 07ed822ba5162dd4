"""Pulumi's plugin for Kubernetes: where it is looked for, in which order it is had, and what is left to Pulumi."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.toolchain import install
from slipway._internal.toolchain.installed_tools import ToolUnavailable
from slipway._internal.toolchain.kubernetes_plugin import PLUGIN, ensure_kubernetes_plugin, is_downloaded, plugin_folder
from slipway._internal.toolchain.paths import tools_path
from slipway._internal.toolchain.tool_catalog import find_tool

Program = Callable[..., Path]
BUILT = find_tool(PLUGIN).version


class Machine:
    """A workspace's tools and a home for Pulumi; `ensure` gets the plugin and returns what was said."""

    def __init__(self, root: Path) -> None:
        self.bin, self.home, self.said = root / "tools", root / "home" / ".pulumi", list[str]()
        self.bin.mkdir()

    @property
    def link(self) -> Path:
        return self.bin / PLUGIN

    def pulumi(self, script: str) -> None:
        """Have a `pulumi` that runs these lines of shell."""
        (self.bin / "pulumi").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (self.bin / "pulumi").chmod(0o755)

    def downloaded(self) -> None:
        """Have the plugin that Pulumi downloads."""
        plugin_folder(self.home).mkdir(parents=True)
        (plugin_folder(self.home) / PLUGIN).touch(mode=0o755)

    def ensure(self, *, install: bool = True) -> list[str]:
        ensure_kubernetes_plugin(self.bin, self.home, install=install, on_line=self.said.append)
        return self.said


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose Pulumi can download nothing, and which builds the Go module."""

    def from_go(each: install.Tool, into: Path, _tell: object) -> None:
        (into / each.main).touch(mode=0o755)

    def refuse(*_: object) -> None:
        raise ToolUnavailable("release: the network is down")

    monkeypatch.delenv(install.PINNED_ONLY_VARIABLE, raising=False)
    monkeypatch.setattr(install, "install_from_release", refuse)
    monkeypatch.setattr(install, "install_from_go", from_go)
    made = Machine(tmp_path)
    made.pulumi("echo 'error: no such host'; exit 1")
    return made


def test_where_pulumi_cannot_download_it_the_module_is_built_and_each_way_says_why(machine: Machine) -> None:
    said = machine.ensure()
    assert machine.link.resolve() == tools_path() / PLUGIN / BUILT / PLUGIN
    assert [line for line in said if "no such host" in line]
    assert [line for line in said if "the network is down" in line]
    assert said.index(f"{PLUGIN}: Pulumi's download: error: no such host") < len(said) - 1


def test_what_was_built_once_is_taken_again_without_asking_pulumi(machine: Machine) -> None:
    machine.ensure()
    machine.link.unlink()
    machine.said.clear()
    machine.pulumi("exit 3")
    assert machine.ensure() == []
    assert machine.link.exists()


def test_pulumi_downloads_the_version_of_its_sdk_into_its_home_and_nothing_lies_before_it_on_path(
    machine: Machine,
) -> None:
    folder = plugin_folder(machine.home)
    version = folder.name.rpartition("-v")[2]
    asked = machine.home / "asked"
    made = f"/bin/mkdir -p {folder}; echo >{folder / PLUGIN}; /bin/chmod 755 {folder / PLUGIN}"
    machine.pulumi(f'echo "$PULUMI_HOME $*" >{asked}; {made}')
    machine.ensure()
    said = asked.read_text(encoding="utf-8")
    assert said.startswith(f"{machine.home} plugin install resource kubernetes {version} ")
    assert is_downloaded(machine.home)
    assert not machine.link.is_symlink()


def test_what_pulumi_has_or_is_on_path_is_left_alone_and_an_own_link_gives_way(
    machine: Machine, program: Program
) -> None:
    machine.ensure()
    assert machine.link.is_symlink()
    machine.downloaded()
    machine.ensure()
    assert not machine.link.is_symlink()
    (plugin_folder(machine.home) / PLUGIN).unlink()
    program(PLUGIN)
    machine.ensure()
    assert not machine.link.is_symlink()


def test_a_download_that_was_cut_off_is_none(machine: Machine) -> None:
    machine.downloaded()
    assert is_downloaded(machine.home)
    plugin_folder(machine.home).with_name(f"{plugin_folder(machine.home).name}.partial").touch()
    assert not is_downloaded(machine.home)


def test_a_pulumi_that_says_that_it_is_done_and_brought_nothing_is_not_believed(machine: Machine) -> None:
    machine.pulumi("echo done")
    machine.ensure()
    assert machine.link.exists()


def test_where_only_pinned_tools_are_wanted_pulumi_downloads_nothing_and_what_it_has_is_not_used(
    machine: Machine, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(install.PINNED_ONLY_VARIABLE, "1")
    asked = machine.bin / "asked"
    machine.pulumi(f"echo >{asked}")
    machine.downloaded()
    program(PLUGIN)
    machine.ensure()
    assert machine.link.resolve() == tools_path() / PLUGIN / BUILT / PLUGIN
    assert not asked.exists()


def test_without_permission_to_install_nothing_is_tried(machine: Machine) -> None:
    with pytest.raises(SlipwayError, match=f"{PLUGIN} {BUILT} is missing") as refused:
        machine.ensure(install=False)
    assert "invoke setup" in refused.value.remedy
    assert machine.said == []
