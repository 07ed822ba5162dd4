"""Carries the services' cache mounts (pip's, npm's) in and out of the builder, for a CI whose builder starts empty."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.commands import mounts as commands
from slipway.content import dockerfile
from slipway.content.service import argument_of
from slipway.flows import baking
from slipway.flows.report import Report
from slipway.flows.standing import Ground
from slipway.model import bases
from slipway.model.workspace import Workspace
from slipway.toolchain.builder import name_of as builder_of


def save(ground: Ground, folder: Path, report: Report) -> dict[str, int]:
    """Write each cache mount into an archive in a folder, and remove archives of mounts that no Dockerfile has.

    Returns:
        The id of each → its archive's size in bytes.

    Raises:
        SlipwayError: BuildKit failed.
    """
    caches = found(ground.workspace, report)
    folder.mkdir(parents=True, exist_ok=True)
    for old in {*folder.glob("*.tar")} - {folder / commands.file_of(each) for each in caches}:
        old.unlink()
    _carry_out(ground, caches, folder, report, commands.saving(caches, folder, _moment()))
    return {each: (folder / commands.file_of(each)).stat().st_size for each in caches}


def load(ground: Ground, folder: Path, report: Report) -> dict[str, int]:
    """Add what the archives in a folder hold to the cache mounts; nothing where there are none.

    Returns and raises as `save` does, for the mounts that have an archive.
    """
    caches = found(ground.workspace, report)
    there = {each: image for each, image in caches.items() if (folder / commands.file_of(each)).is_file()}
    _carry_out(ground, there, folder, report, commands.loading(there, folder, _moment()))
    return {each: (folder / commands.file_of(each)).stat().st_size for each in there}


def found(workspace: Workspace, report: Report) -> dict[str, str]:
    """Return the cache mounts in the services' Dockerfiles: id → the image that the first stage with it starts from."""
    based = bases.load(workspace.root).bases
    caches: dict[str, str] = {}
    for service in workspace.services:
        read = dockerfile.read(service.dockerfile)
        given = {**service.settings.args, **{argument_of(name): ref for name, ref in based.items()}}
        for stage in read.stages:
            for cache in stage.caches:
                if not commands.ID.fullmatch(cache):
                    report.say(f"{service.dockerfile}: the cache mount {cache} stays: its id is not a plain one.")
                elif cache not in caches and (image := _image_of(read, stage, given)):
                    caches[cache] = image
    return dict(sorted(caches.items()))


def _moment() -> str:
    return str(time.time_ns())


def _image_of(read: dockerfile.Dockerfile, stage: dockerfile.Stage, given: Mapping[str, str]) -> str | None:
    """Return the image that a stage starts from, through the stages before it."""
    whole = dockerfile.images(read, stage.name or "", args=given, contexts=())
    return next(iter(whole), None)


def _carry_out(
    ground: Ground, caches: Mapping[str, str], folder: Path, report: Report, definition: Mapping[str, Any]
) -> None:
    if not caches:
        return

    def made(_secrets: Mapping[str, Path], buildx: Path, file: Path) -> tuple[Mapping[str, Any], list[str]]:
        return definition, commands.argv(buildx, file, builder_of(ground.workspace), caches, folder)

    baking.carry_out(ground, [commands.target_of(each) for each in caches], report, made)
