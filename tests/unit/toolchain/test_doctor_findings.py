"""What the doctor finds on a machine that has things: versions, platforms, ports, states, certificates, caches."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.toolchain.test_doctor import workspace

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import GatewaySettings
from slipway._internal.run import statefile
from slipway._internal.toolchain import builder, docker_daemon, doctor, leftovers, platforms
from slipway._internal.toolchain.doctor import CheckResult
from slipway._internal.toolchain.leftovers import Leftover


class Engine:
    """An engine that answers: its version, whether it has an init, and the containers of a workspace."""

    def __init__(self, init: str = "de40ad0") -> None:
        self.init = init
        self.published: list[dict[str, Any]] = []
        self.api = self

    def version(self) -> dict[str, str]:
        return {"Version": "27.1", "ApiVersion": "1.46"}

    def info(self) -> dict[str, Any]:
        return {"Driver": "overlay2", "CgroupVersion": "2", "InitCommit": {"ID": self.init}}

    def containers(self, filters: dict[str, str]) -> list[dict[str, Any]]:
        return self.published


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    found = Engine()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setattr(doctor.sdk, "client", lambda: found)
    monkeypatch.setattr(docker_daemon, "inspect_engine", lambda: SimpleNamespace(problem=""))
    return found


@pytest.mark.parametrize(("init", "problems"), [("de40ad0", []), ("N/A", ["init"])])
def test_an_engine_that_answers_is_described_and_one_without_an_init_is_told(
    engine: Engine, tmp_path: Path, init: str, problems: list[str]
) -> None:
    engine.init = init
    first, *others = doctor._engine(workspace(tmp_path))
    assert first.ok and "27.1, API 1.46, storage overlay2, cgroup v2" in first.found
    assert [fact.name for fact in others] == problems and all(fact.remedy for fact in others)


def test_what_setup_will_do_about_a_missing_engine_is_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = SimpleNamespace(problem="no such file", error=None, address="unix:///x")
    monkeypatch.setattr(docker_daemon, "inspect_engine", lambda: status)
    monkeypatch.setattr(
        docker_daemon,
        "plan_setup",
        lambda _status: [SimpleNamespace(value="install it"), SimpleNamespace(value="start it")],
    )
    (fact,) = doctor._engine(workspace(tmp_path))
    assert not fact.ok and "unix:///x" in fact.found
    assert fact.remedy == "`invoke setup` will install it, then start it."


def test_a_tool_is_told_with_its_version_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"pulumi": tmp_path / "pulumi"}
    monkeypatch.setattr(doctor, "find_installed_tool", here.get)
    monkeypatch.setattr(doctor, "read_version", lambda _tool, _path: "3.255.0")
    found = {fact.name: fact for fact in doctor._tools(workspace(tmp_path))}
    assert found["tool pulumi"] == CheckResult("tool pulumi", True, f"3.255.0, {tmp_path / 'pulumi'}")
    assert not found["tool crane"].ok and "invoke setup" in found["tool crane"].remedy


@pytest.mark.parametrize("up", [True, False])
def test_a_builder_is_up_and_known_to_buildx_or_setup_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, up: bool
) -> None:
    monkeypatch.setattr(builder, "runs_as_process", lambda: True)
    monkeypatch.setattr(builder, "is_responding", lambda _path: up)
    monkeypatch.setattr(builder, "read_registered_endpoint", lambda _folder: ("remote", "unix:///b") if up else None)
    facts = list(doctor._buildkit(workspace(tmp_path)))
    assert [(fact.name, fact.ok) for fact in facts] == [("BuildKit", up), ("builder", up)]
    assert all(bool(fact.remedy) is not up for fact in facts)


@pytest.mark.parametrize("buildable", [True, False])
def test_what_each_node_of_a_builder_can_build_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buildable: bool
) -> None:
    def refuse(*_: Any) -> None:
        if not buildable:
            raise SlipwayError("linux/arm64 cannot be built", remedy="Install QEMU.")

    nodes = [
        SimpleNamespace(address="unix:///a", problem="", platforms={"linux/amd64"}),
        SimpleNamespace(address="ssh://b", problem="no route\nat all", platforms=set()),
    ]
    monkeypatch.setattr(doctor, "find_installed_tool", lambda _name: tmp_path / "docker-buildx")
    monkeypatch.setattr(builder, "read_registered_endpoint", lambda _folder: ("remote", "unix:///a"))
    monkeypatch.setattr(builder, "list_nodes", lambda *_: nodes)
    monkeypatch.setattr(platforms, "refuse_unbuildable", refuse)
    (fact,) = doctor._platforms(workspace(tmp_path))
    assert fact.ok is buildable
    assert "unix:///a: linux/amd64; ssh://b: no route" in fact.found and "at all" not in fact.found
    assert fact.remedy == ("" if buildable else "Install QEMU.")


@pytest.mark.parametrize("listening", [True, False])
def test_a_registry_elsewhere_is_asked_whether_it_can_be_reached(tmp_path: Path, listening: bool) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        if listening:
            server.listen()
        given = SimpleNamespace(registry=f"127.0.0.1:{port}", local_registry=False)
        (fact,) = doctor._registry(given)  # type: ignore[arg-type]
    assert fact.ok is listening and f"127.0.0.1:{port}" in fact.found
    assert ("workspace.toml" in fact.remedy) is not listening


def test_a_port_that_this_workspaces_gateway_has_is_its_own(engine: Engine, tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        engine.published = [{"Labels": {"slipway.workspace": "demo"}, "Ports": [{"PublicPort": port}]}]
        (fact,) = doctor._gateway(workspace(tmp_path, gateway=GatewaySettings(port=port)))
    assert fact.ok and "this workspace's gateway" in fact.found


@pytest.mark.parametrize(("free", "ok"), [(50e9, True), (1e6, False)])
def test_a_disk_that_is_nearly_full_is_told_with_what_frees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, ok: bool
) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))
    facts = list(doctor._disk(workspace(tmp_path / "deep" / "er")))
    assert [fact.ok for fact in facts] == [ok, ok]
    assert all(("invoke prune --machine" in fact.remedy) is not ok for fact in facts)
    assert str(tmp_path) in facts[0].found


@pytest.mark.parametrize(("size", "ok"), [(1000, True), (500_000_000_000, False)])
def test_caches_that_grow_without_end_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, ok: bool
) -> None:
    monkeypatch.setattr(leftovers, "find_leftovers", lambda: [Leftover("old", "why", size, lambda: None)])
    (fact,) = doctor._caches(workspace(tmp_path))
    assert fact.ok is ok and ("prune --machine" in fact.remedy) is not ok


def test_each_stacks_state_is_whole_or_told_with_what_restores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.yaml").write_text("name: demo\nbackend:\n  url: file://../.slipway/state\n")
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    monkeypatch.setattr(statefile, "require_space", lambda _file: None)
    folder = tmp_path / ".slipway" / "state" / ".pulumi" / "stacks" / "demo"
    folder.mkdir(parents=True)
    (folder / "dev.json").write_text('{"version": 3, "checkpoint": {"stack": "dev", "latest": null}}')
    (folder / "prod.json").write_text('{"version": 3, "checkpo')
    found = {fact.name: fact for fact in doctor._state(workspace(tmp_path))}
    assert found["state of dev"].ok
    assert not found["state of prod"].ok and "invoke deploy --stack prod" in found["state of prod"].remedy


@pytest.mark.parametrize("passed", [True, False])
def test_certificates_that_were_added_here_have_to_reach_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passed: bool
) -> None:
    monkeypatch.setattr(doctor, "ADDED_CERTIFICATES", tmp_path)
    given: Any = SimpleNamespace(build_secrets=lambda _environment: {"ca": "bundle"} if passed else {})
    assert next(doctor._certificates(given)).ok, "none was added"
    (tmp_path / "company.crt").touch()
    (fact,) = doctor._certificates(given)
    assert fact.ok is passed and "company.crt" in fact.found
    assert ("[build.secrets]" in fact.remedy) is not passed


def test_go_and_the_network_are_only_missed_where_a_tool_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_installed_tool", lambda name: tmp_path / name)
    monkeypatch.setattr(doctor, "is_reachable", lambda: False)
    facts = list(doctor._sources(workspace(tmp_path)))
    assert [(fact.name, fact.ok) for fact in facts] == [("Go", True), ("network", True)]
    monkeypatch.setattr(doctor, "find_installed_tool", lambda _name: None)
    facts = list(doctor._sources(workspace(tmp_path)))
    assert [(fact.ok, bool(fact.remedy)) for fact in facts] == [(False, True), (False, True)]
