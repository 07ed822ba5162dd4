"""Cache mounts are carried by archives of their own, each from the image that its stage starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.build import cache_mounts
from slipway._internal.commands import cache_mounts as commands
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model.bases_lock import BasesLock
from slipway._internal.model.workspace import load_workspace

PYTHON = f"registry.example/python@sha256:{'a' * 64}"
DOCKERFILE = """\
ARG PYTHON_BUILD
FROM ${PYTHON_BUILD} AS build
RUN --mount=type=cache,id=pip,target=/cache pip install .
FROM build AS test
RUN --mount=type=cache,id=tests,target=/t pytest
FROM scratch AS run
"""


class RecordingReporter(NullReporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    tmp_path.joinpath("workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    add_service(tmp_path, "api", DOCKERFILE)
    bases = BasesLock("official", {"python-build": PYTHON})
    monkeypatch.setattr(cache_mounts.bases_lock, "load", lambda _root: bases)
    monkeypatch.setattr(cache_mounts, "builder_of", lambda _workspace: "slipway")
    return RunContext(load_workspace(tmp_path), tmp_path / "bin", {})


def add_service(root: Path, name: str, dockerfile: str) -> None:
    folder = root / "services" / name
    folder.mkdir(parents=True)
    port = 8000 + len([*folder.parent.iterdir()])
    folder.joinpath("service.toml").write_text(f'kind = "python-api"\nroute = "/{name}"\nport = {port}\n')
    folder.joinpath("Dockerfile").write_text(dockerfile)


class Bakes:
    """What was baked; a bake that saves writes each archive."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.targets: list[list[str]] = []
        self.commands: list[list[str]] = []

    def run(self, _context: RunContext, targets: list[str], _reporter: Any, create: Any) -> None:
        self.targets.append(targets)
        definition, command = create({}, Path("buildx"), Path("bake.json"))
        assert isinstance(definition, Mapping)
        self.commands.append(command)
        for cache in ("pip", "tests"):
            file = self.folder / commands.archive_name(cache)
            if not file.exists():
                file.write_bytes(cache.encode())


@pytest.fixture
def bakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bakes:
    found = Bakes(tmp_path / "caches")
    monkeypatch.setattr(cache_mounts.bake_runner, "run_bake", found.run)
    return found


def test_each_mount_is_found_once_with_the_image_that_its_stage_comes_from(context: RunContext) -> None:
    assert cache_mounts.find_caches(context.workspace, NullReporter()) == {"pip": PYTHON, "tests": PYTHON}


def test_a_mount_whose_id_is_no_plain_name_stays_and_is_told(context: RunContext) -> None:
    root = context.workspace.root
    add_service(root, "odd", "FROM scratch\nRUN --mount=type=cache,id=../up,target=/x true\n")
    said = RecordingReporter()
    found = cache_mounts.find_caches(load_workspace(root), said)
    assert [*found] == ["pip", "tests"] and "the cache mount ../up stays" in said.lines[0]


def test_saving_writes_an_archive_for_each_and_removes_those_of_no_mount(context: RunContext, bakes: Bakes) -> None:
    bakes.folder.mkdir()
    (bakes.folder / "gone.tar").write_bytes(b"x")
    assert cache_mounts.save_caches(context, bakes.folder, NullReporter()) == {"pip": 3, "tests": 5}
    assert not (bakes.folder / "gone.tar").exists()
    assert bakes.targets == [[commands.bake_target_name(cache) for cache in ("pip", "tests")]]


def test_loading_takes_those_that_have_an_archive_and_without_any_nothing_is_run(
    context: RunContext, bakes: Bakes
) -> None:
    assert cache_mounts.load_caches(context, bakes.folder, NullReporter()) == {}
    assert bakes.targets == []
    bakes.folder.mkdir()
    (bakes.folder / commands.archive_name("tests")).write_bytes(b"tests")
    assert cache_mounts.load_caches(context, bakes.folder, NullReporter()) == {"tests": 5}
    assert bakes.targets == [[commands.bake_target_name("tests")]]
