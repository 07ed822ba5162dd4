"""The doctor: every fact has a remedy where it is wrong, and no check can break the others."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from slipway._internal.model.workspace import GatewaySettings, Workspace, WorkspaceSettings
from slipway._internal.toolchain import doctor, kubernetes_plugin, vendor_release
from slipway._internal.toolchain.doctor import needed_tools, run_checks


def workspace(root: Path, **settings: object) -> Workspace:
    return Workspace(root, WorkspaceSettings(**{"name": "demo", "registry": "127.0.0.1:1", **settings}), ())  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_engine_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setenv(vendor_release.MIRROR_VARIABLE, "http://127.0.0.1:9")


def test_on_an_empty_machine_everything_missing_is_named_with_its_remedy(tmp_path: Path) -> None:
    found = {fact.name: fact for fact in run_checks(workspace(tmp_path))}
    assert found["Python"].ok
    for name in ("Docker engine", "tool pulumi", "registry", "builder", "Go", "network"):
        assert not found[name].ok
        assert found[name].remedy


def test_a_check_that_breaks_is_a_fact_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fall_ill() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(doctor.docker_daemon, "inspect_engine", fall_ill)
    found = {fact.name: fact for fact in run_checks(workspace(tmp_path))}
    assert "boom" in found["engine"].found
    assert "network" in found


def test_a_gateway_port_that_somebody_else_has_is_wrong(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        port = holder.getsockname()[1]
        found = {fact.name: fact for fact in run_checks(workspace(tmp_path, gateway=GatewaySettings(port=port)))}
    assert not found["gateway port"].ok
    assert "`port` under [gateway] in workspace.toml" in found["gateway port"].remedy


def test_a_stacks_own_port_that_somebody_else_has_is_named_with_the_stacks_file(tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        lines = ["images: inline", "target: docker", "protected: false", f"port: {holder.getsockname()[1]}"]
        text = "".join(f"  slipway:{line}\n" for line in lines)
        (tmp_path / "infra" / "Pulumi.copy.yaml").write_text(f"config:\n{text}")
        found = {fact.name: fact for fact in run_checks(workspace(tmp_path))}
    assert not found["gateway port of copy"].ok
    assert "slipway:port in infra/Pulumi.copy.yaml" in found["gateway port of copy"].remedy


def test_a_stacks_ports_for_tls_and_metrics_are_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        lines = ["images: inline", "protected: false", "certificate: a.pem", "metrics-port: 1"]
        lines.append(f"tls-port: {holder.getsockname()[1]}")
        text = "".join(f"  slipway:{line}\n" for line in lines)
        (tmp_path / "infra" / "Pulumi.copy.yaml").write_text(f"config:\n{text}")
        found = {fact.name: fact for fact in run_checks(workspace(tmp_path))}
    assert "slipway:tls-port in infra/Pulumi.copy.yaml" in found["gateway tls-port of copy"].remedy
    assert "gateway metrics-port of copy" in found


def test_a_workspace_with_a_registry_elsewhere_needs_no_registry_program(tmp_path: Path) -> None:
    here = {each.name for each in needed_tools(workspace(tmp_path))}
    there = {each.name for each in needed_tools(workspace(tmp_path, registry="registry.example.com"))}
    assert here - there == {"registry"}


def test_a_repository_that_git_cannot_read_is_a_finding_and_none_is_not(tmp_path: Path) -> None:
    [none] = doctor._git(workspace(tmp_path))
    assert none.ok
    (tmp_path / ".git").mkdir()
    [broken] = doctor._git(workspace(tmp_path))
    assert not broken.ok
    assert "the commit cannot be determined" in broken.found
    assert broken.remedy


def test_the_plugin_that_pulumi_has_downloaded_itself_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path))
    name = f"tool {kubernetes_plugin.PLUGIN}"
    assert "not installed yet" in {fact.name: fact for fact in run_checks(workspace(tmp_path))}[name].found
    folder = kubernetes_plugin.plugin_folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / kubernetes_plugin.PLUGIN).touch(mode=0o755)
    assert str(folder) in {fact.name: fact for fact in run_checks(workspace(tmp_path))}[name].found
