"""The builder is registered once for where BuildKit runs, again when that changes, and what is not Slipway's stays."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace, load_workspace
from slipway._internal.run.process import ProcessResult
from slipway._internal.toolchain import background, builder, daemons
from slipway._internal.toolchain.builder import BUILDER_NAME, Node
from slipway._internal.toolchain.paths import tools_path

BUILDX = Path("/tools/docker-buildx")


class Buildx:
    """buildx, which writes down what it is told as the real one does, and BuildKit, which starts when launched."""

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.fails: set[str] = set()
        self.up = False
        self.launched: list[Sequence[Any]] = []
        self.lists = ""
        self.environment: dict[str, str] = {}

    def run(self, argv: Sequence[Any], *, env: dict[str, str], **_: Any) -> ProcessResult:
        words = [str(word) for word in argv]
        self.ran.append(words[1:])
        if any(word in self.fails for word in words):
            return ProcessResult(1, "ERROR: no\n", "")
        instances = Path(env["BUILDX_CONFIG"]) / "instances"
        if words[1] == "create":
            name, driver = words[words.index("--name") + 1], words[words.index("--driver") + 1]
            file = instances / name
            known = json.loads(file.read_text()) if "--append" in words else {"Driver": driver, "Nodes": []}
            known["Nodes"].append({"Endpoint": words[-1]})
            instances.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(known))
        if words[1] == "rm":
            (instances / words[-1]).unlink()
        return ProcessResult(0, self.lists if words[1] == "ls" else "", "")

    def verbs(self) -> list[str]:
        return [words[0] for words in self.ran]


@pytest.fixture
def buildx(monkeypatch: pytest.MonkeyPatch) -> Buildx:
    found = Buildx()
    monkeypatch.setattr(builder, "run", found.run)
    monkeypatch.setattr(builder, "ensure_tool", lambda name, **_: BUILDX.with_name(name))
    monkeypatch.setattr(builder, "runs_as_process", lambda: True)
    monkeypatch.setattr(builder, "is_responding", lambda _path: found.up)
    monkeypatch.setattr(builder.shutil, "which", lambda name, **_: f"/usr/bin/{name}")

    def launch(_home: Path, argv: Sequence[Any], *, env: dict[str, str]) -> None:
        found.launched.append(argv)
        found.environment = env
        found.up = True

    monkeypatch.setattr(builder.background, "launch_daemon", launch)
    return found


def test_buildkit_is_started_and_registered_once(buildx: Buildx) -> None:
    first = builder.ensure_builder()
    assert first.address == f"unix://{builder.socket_path()}" and len(buildx.launched) == 1
    assert buildx.verbs() == ["create"]
    assert builder.read_registered_endpoint(builder.buildx_folder()) == ("remote", first.address)
    assert builder.ensure_builder() == first
    assert len(buildx.launched) == 1 and buildx.verbs() == ["create"]
    assert first.env == {"BUILDX_CONFIG": str(builder.buildx_folder()), "BUILDX_BUILDER": BUILDER_NAME}


@pytest.mark.parametrize(("version", "taken"), [("0.26.3", False), ("99.0.0", True)])
def test_a_builder_that_an_earlier_slipway_started_is_refused_where_it_is_too_old(
    buildx: Buildx, version: str, taken: bool
) -> None:
    program = tools_path() / "buildkit" / version / "buildkitd"
    program.parent.mkdir(parents=True)
    shutil.copy("/bin/sleep", program)
    buildx.up = True
    with subprocess.Popen([program, "600"]) as child:
        born = background.read_living_start_time(child.pid) or ""
        builder.state_folder().mkdir(parents=True)
        (builder.state_folder() / background.PID_FILE).write_text(json.dumps({"pid": child.pid, "born": born}))
        try:
            if taken:
                assert builder.ensure_builder().started_by_slipway
            else:
                with pytest.raises(SlipwayError, match=r"BuildKit 0\.26\.3 is running, at least ") as refused:
                    builder.ensure_builder()
                assert f"`kill {child.pid}`" in refused.value.remedy
        finally:
            child.kill()


def test_its_configuration_is_a_file_in_its_own_folder(buildx: Buildx) -> None:
    builder.ensure_builder()
    (argv,) = buildx.launched
    assert Path(argv[-1]) == builder.state_folder() / "buildkitd.toml"
    assert str(builder.state_folder() / "data") in Path(argv[-1]).read_text()


def test_mount_points_that_a_killed_one_left_go_and_what_is_still_mounted_stays(buildx: Buildx) -> None:
    folder = builder.state_folder() / "tmp"
    (folder / "buildkit-mount1").mkdir(parents=True)
    (folder / "buildkit-mount2").mkdir()
    (folder / "buildkit-mount2" / "layer").touch()
    builder.ensure_builder()
    assert [each.name for each in folder.iterdir()] == ["buildkit-mount2"]
    assert buildx.environment["TMPDIR"] == str(folder)


def test_without_root_it_runs_in_the_engine_and_a_change_registers_it_anew(
    buildx: Buildx, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.ensure_builder()
    monkeypatch.setattr(builder, "runs_as_process", lambda: False)
    found = builder.ensure_builder()
    assert (found.address, found.started_by_slipway) == ("docker-container://", True)
    assert buildx.verbs() == ["create", "rm", "create"] and len(buildx.launched) == 1
    builder.ensure_builder()
    assert buildx.verbs() == ["create", "rm", "create"]


def test_a_builder_that_buildx_does_not_take_is_an_error_with_its_words(buildx: Buildx) -> None:
    buildx.fails.add("create")
    with pytest.raises(SlipwayError, match="buildx did not take the builder") as failed:
        builder.ensure_builder()
    assert "ERROR: no" in failed.value.detail and "invoke doctor" in failed.value.remedy


def test_buildkit_without_runc_says_what_to_install(buildx: Buildx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder.shutil, "which", lambda _name, **_: None)
    with pytest.raises(SlipwayError, match="BuildKit needs runc") as failed:
        builder.ensure_builder()
    assert "apt-get install runc" in failed.value.remedy and buildx.launched == []


NATIVE = '[build]\nplatforms = ["linux/amd64", "linux/arm64"]\nbuilders = { "linux/arm64" = "tcp://arm:1234" }\n'


def shop(root: Path, more: str = "", registry: str = "127.0.0.1:5000") -> Workspace:
    root.joinpath("workspace.toml").write_text(f'name = "shop"\nregistry = "{registry}"\n{more}')
    return load_workspace(root)


def test_native_builders_are_nodes_of_a_builder_of_their_own(buildx: Buildx, tmp_path: Path) -> None:
    workspace = shop(tmp_path, NATIVE)
    own = builder.ensure_builder()
    builder.register_native_builders(workspace)
    name = builder.builder_of(workspace)
    assert name.startswith(f"{BUILDER_NAME}-") and builder.builder_of(shop(tmp_path)) == BUILDER_NAME
    known = json.loads((builder.buildx_folder() / "instances" / name).read_text())
    assert [node["Endpoint"] for node in known["Nodes"]] == [own.address, "tcp://arm:1234"]
    assert "--platform=linux/amd64" in buildx.ran[1], "ours does not claim what another is there for"
    before = len(buildx.ran)
    builder.register_native_builders(shop(tmp_path, NATIVE))
    assert len(buildx.ran) == before
    assert builder.builder_of(shop(tmp_path, NATIVE.replace("1234", "4321"))) != name


def test_a_native_builder_that_is_not_taken_leaves_none_behind(buildx: Buildx, tmp_path: Path) -> None:
    builder.ensure_builder()
    buildx.fails.add("tcp://arm:1234")
    with pytest.raises(SlipwayError, match="did not take the builder tcp://arm:1234") as failed:
        builder.register_native_builders(shop(tmp_path, NATIVE))
    assert "[build.builders]" in failed.value.remedy
    assert [path.name for path in (builder.buildx_folder() / "instances").iterdir()] == [BUILDER_NAME]


def test_nodes_are_told_with_what_they_can_build_and_what_is_wrong(buildx: Buildx, tmp_path: Path) -> None:
    nodes = [
        {"Endpoint": "unix:///b", "Status": "running", "Platforms": ["linux/amd64*", "linux/386"]},
        {"Endpoint": "tcp://arm:1", "Status": "inactive"},
        {"Endpoint": "tcp://arm:2", "Err": "refused", "Platforms": None},
    ]
    buildx.lists = "\n".join(["no JSON", '{"Name": "other"}', json.dumps({"Name": "ours", "Nodes": nodes})])
    assert builder.list_nodes(BUILDX, "ours", tmp_path) == [
        Node("unix:///b", frozenset({"linux/amd64", "linux/386"}), ""),
        Node("tcp://arm:1", frozenset(), "inactive"),
        Node("tcp://arm:2", frozenset(), "refused"),
    ]
    with pytest.raises(SlipwayError, match="does not know the builder another"):
        builder.list_nodes(BUILDX, "another", tmp_path)


def test_only_what_slipway_started_is_ended(buildx: Buildx, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Path] = []
    monkeypatch.setattr(builder.background, "stop_daemon", lambda home: bool(ended.append(home)))
    assert builder.stop_builder() is False and ended == [builder.state_folder()]
    monkeypatch.setattr(builder, "runs_as_process", lambda: False)
    builder.ensure_builder()
    assert builder.stop_builder() is True
    assert buildx.ran[-1] == ["stop", BUILDER_NAME] and len(ended) == 1


@pytest.mark.parametrize("registry", ["127.0.0.1:5000", "ghcr.io/acme"])
def test_a_registry_on_another_machine_is_nobodys_to_start_or_end(
    buildx: Buildx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: str
) -> None:
    asked: list[tuple[str, str]] = []

    def started(address: str, **_: Any) -> Any:
        asked.append(("start", address))
        return address

    def stopped(address: str) -> bool:
        asked.append(("stop", address))
        return True

    monkeypatch.setattr(daemons.registry_daemon, "ensure_local_registry", started)
    monkeypatch.setattr(daemons.registry_daemon, "stop_local_registry", stopped)
    monkeypatch.setattr(daemons.builder, "stop_builder", lambda: True)
    workspace, local = shop(tmp_path, registry=registry), registry.startswith("127.")
    found = daemons.ensure_daemons(workspace)
    assert found.registry == (registry if local else None) and found.builder.name == BUILDER_NAME
    assert daemons.stop_daemons(workspace) == (("registry", "builder") if local else ("builder",))
    assert asked == ([("start", registry), ("stop", registry)] if local else [])
