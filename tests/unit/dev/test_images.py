"""The images of `invoke dev`: one bake for all, for the engine's platform alone; or an image with folders over it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.fake_engine import FakeEngine

from slipway._internal.build import bake_runner
from slipway._internal.content.digest import BuildInputs, content_manifest
from slipway._internal.content.service_inputs import build_inputs_of
from slipway._internal.content.sync import SyncFolder
from slipway._internal.context.run_context import RunContext
from slipway._internal.dev import images
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import load_workspace

DIGEST = f"sha256:{'d' * 64}"
APP = SyncFolder.parse("app")


@pytest.fixture
def context(root: Path) -> RunContext:
    workspace = load_workspace(root)
    return RunContext(workspace, root / "bin", {})


@pytest.fixture
def inputs(context: RunContext, root: Path) -> BuildInputs:
    (root / "services" / "api" / "app").mkdir()
    (root / "services" / "api" / "app" / "main.py").write_text("old\n", encoding="utf-8")
    return build_inputs_of(context.workspace, context.workspace.service("api"), {})


class Bakes:
    """Stands for buildx: keeps the definitions and commands, and writes what it built."""

    def __init__(self, names: bool) -> None:
        self.names = names
        self.done: list[tuple[Mapping[str, Any], list[str]]] = []

    def run(self, _context: Any, targets: list[str], _reporter: Any, create: Callable[..., Any]) -> None:
        definition, command = create({}, Path("/bin/buildx"), Path("/bake.json"))
        self.done.append((definition, command))
        (named,) = (word for word in command if word.startswith("--metadata-file="))
        file = Path(named.partition("=")[2])
        file.parent.mkdir(parents=True, exist_ok=True)
        built = {name: {"containerimage.digest": DIGEST} if self.names else {} for name in targets}
        file.write_text(json.dumps(built), encoding="utf-8")


@pytest.fixture
def bakes(monkeypatch: pytest.MonkeyPatch) -> Bakes:
    found = Bakes(names=True)
    monkeypatch.setattr(bake_runner, "run_bake", found.run)
    return found


def test_a_service_is_built_for_the_engines_platform_and_the_engine_has_its_image(
    context: RunContext, inputs: BuildInputs, docker: FakeEngine, bakes: Bakes, root: Path
) -> None:
    ref = f"127.0.0.1:5000/demo/api@{DIGEST}"
    docker.add_image(ref, pulled=False)
    several = replace(inputs, platforms=("linux/amd64", "linux/arm64"))
    assert images.build_images(context, {"api": several}) == {"api": ref}
    assert ref in docker.stored_images
    ((definition, command),) = bakes.done
    assert definition["target"]["api"]["platforms"] == ["linux/amd64"]
    assert "127.0.0.1:5000/demo/api" in str(definition["target"]["api"]["output"])
    assert command[0] == "/bin/buildx"
    assert list((root / ".slipway" / "run").iterdir()) == [], "what buildx wrote is gone"


def test_a_platform_that_the_service_is_not_for_is_not_forced_on_it(inputs: BuildInputs) -> None:
    only_arm = replace(inputs, platforms=("linux/arm64",))
    assert images.limit_to_platform(only_arm, "linux/amd64") is only_arm


def test_nothing_to_build_runs_nothing(context: RunContext, docker: FakeEngine, bakes: Bakes) -> None:
    assert images.build_images(context, {}) == {}
    assert bakes.done == []


def test_a_builder_that_names_no_image_is_an_error_that_names_the_service(
    context: RunContext, inputs: BuildInputs, docker: FakeEngine, bakes: Bakes
) -> None:
    bakes.names = False
    with pytest.raises(SlipwayError, match="api") as caught:
        images.build_images(context, {"api": inputs})
    assert "invoke doctor" in caught.value.remedy


def test_folders_are_packed_for_where_the_image_has_them(inputs: BuildInputs, docker: FakeEngine) -> None:
    docker.add_image("image", WorkingDir="/srv")
    packed = images.pack_folders("image", inputs, [APP])
    with tarfile.open(fileobj=io.BytesIO(packed["/srv/app"])) as tar:
        assert tar.getnames() == ["main.py"]


@pytest.mark.parametrize(("content", "same"), [("old\n", True), ("made by the build\n", False), (None, False)])
def test_an_image_whose_folder_is_not_as_the_sources_had_it_is_told(
    inputs: BuildInputs, docker: FakeEngine, monkeypatch: pytest.MonkeyPatch, content: str | None, same: bool
) -> None:
    container = docker.add_container("demo-dev-api-1")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("app/main.py")
        entry.size = len(content or "")
        tar.addfile(entry, io.BytesIO((content or "").encode()))
    if content is not None:
        monkeypatch.setattr(container, "get_archive", lambda _folder: (iter([buffer.getvalue()]), {}))
    manifest = content_manifest(inputs)
    assert images.has_folders_as_built(container.id, inputs, [APP], manifest, manifest) is same
