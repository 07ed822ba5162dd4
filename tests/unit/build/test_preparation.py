"""What a command gets and starts before its work: what it needs, in the order in which problems are best said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.build import environment
from slipway._internal.build.environment import SCANNER, SIGNER, TOOLS, prepare_environment, prepare_tools
from slipway._internal.context.reporter import NullReporter
from slipway._internal.model import bases_lock
from slipway._internal.model.bases_lock import BasesLock
from slipway._internal.model.errors import GateRefused, SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace, load_workspace
from slipway._internal.run import credentials
from slipway._internal.toolchain import builder, daemons, docker_daemon, platforms
from tests import synthetic


class Machine:
    """A machine on which everything can be had; what was asked of it, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.installs: set[bool] = set()
        self.missing = ""
        monkeypatch.setattr(environment, "link_tools", self.link)
        monkeypatch.setattr(credentials, "check_logins", lambda _workspace: self.asked.append("logins"))
        monkeypatch.setattr(builder, "runs_as_process", lambda: True)
        for owner, name, what in (
            (docker_daemon, "ensure_engine", "engine"),
            (environment, "ensure_kubernetes_plugin", "Kubernetes plugin"),
            (daemons, "ensure_registry", "registry"),
            (builder, "ensure_builder", "builder"),
            (platforms, "ensure_platforms", "platforms"),
            (environment, "ensure_bases", "bases"),
        ):
            monkeypatch.setattr(owner, name, self.stand_in(what))

    def stand_in(self, what: str) -> Any:
        def ensure(*_: Any, install: bool, **__: Any) -> None:
            self.asked.append(what)
            self.installs.add(install)

        return ensure

    def link(self, folder: Path, names: tuple[str, ...], *, install: bool, **_: Any) -> None:
        if self.missing in names:
            raise SlipwayError(f"{self.missing} cannot be had", remedy="Check the proxy.")
        self.asked.append(names[0])
        for name in names:
            (folder / name).touch()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    synthetic.workspace(tmp_path, 1)
    (tmp_path / "infra" / "Pulumi.yaml").write_text("name: many\nbackend:\n  url: file://../.slipway/state\n")
    bases_lock.save(tmp_path, BasesLock("hardened", {}))
    return load_workspace(tmp_path)


def stack(target: str, *, protected: bool = False) -> Stack:
    return Stack("dev", Path("x"), "inline", target, protected=protected)


def test_a_build_needs_engine_tools_registry_builder_and_bases_and_a_wrong_login_is_said_first(
    machine: Machine, workspace: Workspace
) -> None:
    context = prepare_environment(workspace, NullReporter(), building=True, stack=stack("docker"))
    assert machine.asked == ["logins", "engine", "pulumi", "registry", "builder", "platforms", "bases"]
    assert context.bin == workspace.scratch / "bin"
    assert context.environment["PATH"].startswith(f"{context.bin}{os.pathsep}")


def test_what_builds_nothing_asks_no_builder(machine: Machine, workspace: Workspace) -> None:
    prepare_environment(workspace, NullReporter(), building=False, stack=stack("docker"))
    assert machine.asked[-1] == "registry"


def test_a_workspace_without_bases_gets_them_whatever_it_is_for(machine: Machine, workspace: Workspace) -> None:
    bases_lock.path_of(workspace.root).unlink()
    prepare_environment(workspace, NullReporter(), building=False, stack=stack("docker"))
    assert machine.asked[-1] == "bases"


def test_a_cluster_needs_kubectl_and_the_plugin_and_no_docker_engine(machine: Machine, workspace: Workspace) -> None:
    prepare_environment(workspace, NullReporter(), building=False, stack=stack("kubernetes"))
    assert machine.asked == ["logins", "pulumi", "kubectl", "Kubernetes plugin", "registry"]


def test_nothing_is_installed_where_nothing_may_be(machine: Machine, workspace: Workspace) -> None:
    prepare_environment(workspace, NullReporter(), building=True, install=False)
    assert machine.installs == {False}


def test_a_tool_of_the_gate_that_cannot_be_had_is_the_gates_refusal(machine: Machine, workspace: Workspace) -> None:
    machine.missing = SCANNER
    with pytest.raises(GateRefused, match="trivy") as caught:
        prepare_environment(workspace, NullReporter(), building=False, gate=(SCANNER, SIGNER))
    assert caught.value.remedy == "Check the proxy."
    assert "registry" not in machine.asked


@pytest.mark.parametrize(("protected", "tools"), [(True, ("cosign",)), (False, ())])
def test_only_a_protected_stack_needs_the_signer(protected: bool, tools: tuple[str, ...]) -> None:
    assert environment.required_gate_tools(stack("docker", protected=protected)) == tools


def test_tools_are_linked_once_and_again_where_one_is_gone(machine: Machine, workspace: Workspace) -> None:
    for _ in range(2):
        prepare_tools(workspace, NullReporter(), install=True)
    assert machine.asked == ["pulumi"]
    (workspace.scratch / "bin" / TOOLS[-1]).unlink()
    prepare_tools(workspace, NullReporter(), install=True)
    assert machine.asked == ["pulumi"] * 2


def test_other_versions_of_tools_are_linked_anew(
    machine: Machine, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_tools(workspace, NullReporter(), install=True)
    (tmp_path / "tools.toml").write_text("other versions")
    monkeypatch.setattr(environment, "TOOLS_FILE", tmp_path / "tools.toml")
    prepare_tools(workspace, NullReporter(), install=True)
    assert machine.asked == ["pulumi"] * 2


def test_the_workspaces_own_python_gets_a_pulumi_that_knows_the_workspace(
    machine: Machine, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv = workspace.root / ".venv"
    (venv / "bin").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(venv))
    prepare_tools(workspace, NullReporter(), install=True)
    wrapper = venv / "bin" / "pulumi"
    assert wrapper.stat().st_mode & 0o777 == 0o755
    text = wrapper.read_text(encoding="utf-8")
    assert str(workspace.scratch / "bin") in text and "plain_pulumi" in text
    assert subprocess.run(["sh", "-n", str(wrapper)], check=False).returncode == 0
    wrapper.unlink()
    prepare_tools(workspace, NullReporter(), install=True)
    assert wrapper.is_file(), "it is written again"


def test_another_python_gets_none(machine: Machine, workspace: Workspace) -> None:
    (workspace.root / ".venv" / "bin").mkdir(parents=True)
    prepare_tools(workspace, NullReporter(), install=True)
    assert list((workspace.root / ".venv" / "bin").iterdir()) == []
