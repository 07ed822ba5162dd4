"""A later frontend than the builder's own is built where nobody has it, pushed, and from then on used by digest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.build.test_frontend_doctor import workspace_with

from slipway._internal.build import bake_runner, frontends
from slipway._internal.build.bases import read_dockerfiles
from slipway._internal.context.reporter import NullReporter
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import registry
from slipway._internal.toolchain import dockerfile_frontend

NEW, OLD = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
REPOSITORY = "127.0.0.1:5000/demo/dockerfile_frontend"
LATER = "# syntax=docker/dockerfile:1.99\nFROM scratch\n"


class World:
    """A registry with digests in it, a toolchain, and a bake that pushes."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.present: set[str] = set()
        self.built: list[str] = []
        self.definitions: list[Any] = []
        self.commands: list[list[str]] = []
        self.programs = tmp_path / "programs"
        self.programs.mkdir()
        for name in ("dockerfile-frontend-amd64", "dockerfile-frontend-arm64", "Dockerfile"):
            (self.programs / name).write_text(name)
        monkeypatch.setattr(registry, "resolve_digests", self.resolve)
        monkeypatch.setattr(dockerfile_frontend, "ensure_frontend_programs", self.build)
        monkeypatch.setattr(bake_runner, "run_bake", self.bake)
        monkeypatch.setattr(bake_runner, "read_metadata", lambda _path: self.metadata)
        self.metadata: dict[str, dict[str, str]] = {"dockerfile-frontend": {"containerimage.digest": NEW}}

    def resolve(self, refs: Iterable[str], _workspace: Any) -> dict[str, str | None]:
        return {ref: ref.partition("@")[2] if ref in self.present else None for ref in refs}

    def build(self, version: str, *, install: bool, **_: Any) -> Path:
        if not install:
            raise SlipwayError("missing", detail="no Go")
        self.built.append(version)
        return self.programs

    def bake(self, _context: Any, _names: list[str], _reporter: Any, create: Callable[..., Any]) -> None:
        definition, command = create({}, Path("/bin/buildx"), Path("/bake.json"))
        self.definitions.append(definition)
        self.commands.append(command)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def ensure(workspace: Workspace, locked: dict[str, str], **more: Any) -> dict[str, str]:
    workspace.scratch.mkdir(parents=True, exist_ok=True)
    context: Any = SimpleNamespace(workspace=workspace)
    return frontends.ensure_frontends(context, read_dockerfiles(workspace), locked, NullReporter(), **more)


def test_what_the_builder_has_itself_needs_none(tmp_path: Path, world: World) -> None:
    asked = {"api": "FROM a\n", "web": "# syntax=docker/dockerfile:1-labs\nFROM a\n"}
    assert ensure(workspace_with(tmp_path, asked), {}) == {}
    assert world.built == []


def test_one_is_built_for_all_that_ask_for_it_and_pushed_by_a_tag_of_its_bytes(tmp_path: Path, world: World) -> None:
    workspace = workspace_with(tmp_path, {"api": LATER, "web": LATER.replace("1.99", "1.99.0")})
    assert ensure(workspace, {}) == {"dockerfile-1.99.0": f"{REPOSITORY}@{NEW}"}
    assert world.built == ["1.99.0"]
    (target,) = world.definitions[0]["target"].values()
    assert target["platforms"] == ["linux/amd64", "linux/arm64"]
    assert target["context"] == str(world.programs) and target["output"][0].endswith(",push=true")
    (tag,) = target["tags"]
    (world.programs / "dockerfile-frontend-arm64").write_text("other bytes")
    ensure(workspace, {})
    assert tag.startswith(f"{REPOSITORY}:1.99.0-")
    assert world.definitions[1]["target"]["dockerfile-frontend"]["tags"] != [tag]
    assert "--builder=slipway" in world.commands[0] and world.commands[0][-1] == "dockerfile-frontend"


def test_one_that_is_locked_is_kept_while_the_registry_has_it(tmp_path: Path, world: World) -> None:
    workspace = workspace_with(tmp_path, {"api": LATER})
    locked = {"dockerfile-1.99.0": f"elsewhere.example/demo/dockerfile_frontend@{OLD}"}
    world.present = {f"{REPOSITORY}@{OLD}"}
    assert ensure(workspace, locked) == {"dockerfile-1.99.0": f"{REPOSITORY}@{OLD}"}
    assert world.built == []
    world.present = set()
    assert ensure(workspace, locked) == {"dockerfile-1.99.0": f"{REPOSITORY}@{NEW}"}
    assert world.built == ["1.99.0"]


def test_one_that_cannot_be_built_is_refused_by_file_and_line_with_a_way_out(tmp_path: Path, world: World) -> None:
    workspace = workspace_with(tmp_path, {"api": LATER})
    with pytest.raises(SlipwayError, match=r"api/Dockerfile: the line `syntax=docker/dockerfile:1\.99`") as refused:
        ensure(workspace, {}, install=False)
    assert "docker/dockerfile:1`" in refused.value.remedy and refused.value.detail == "no Go"
    world.metadata = {}
    with pytest.raises(SlipwayError, match="named no image"):
        ensure(workspace, {})
