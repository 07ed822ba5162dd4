"""Saves and loads the services' cache mounts (pip's, npm's), for a CI whose builder starts empty."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway._internal.build import bake_runner
from slipway._internal.commands import cache_mounts as commands
from slipway._internal.content import dockerfile
from slipway._internal.content.service_inputs import base_argument
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import bases_lock
from slipway._internal.model.workspace import Workspace
from slipway._internal.toolchain.builder import builder_of


def save_caches(context: RunContext, folder: Path, reporter: Reporter) -> dict[str, int]:
    """Write each cache mount into an archive in a folder, and remove archives of mounts that no Dockerfile has.

    Returns:
        The id of each → its archive's size in bytes.

    Raises:
        SlipwayError: BuildKit failed.
    """
    caches = find_caches(context.workspace, reporter)
    folder.mkdir(parents=True, exist_ok=True)
    for stale_archive in {*folder.glob("*.tar")} - {folder / commands.archive_name(cache) for cache in caches}:
        stale_archive.unlink()
    _run_bake(context, caches, folder, reporter, commands.save_definition(caches, folder, _unique_argument()))
    return {cache: (folder / commands.archive_name(cache)).stat().st_size for cache in caches}


def load_caches(context: RunContext, folder: Path, reporter: Reporter) -> dict[str, int]:
    """Add what the archives in a folder hold to the cache mounts; nothing where there are none.

    Returns and raises as `save_caches` does, for the mounts that have an archive.
    """
    caches = find_caches(context.workspace, reporter)
    archived = {cache: image for cache, image in caches.items() if (folder / commands.archive_name(cache)).is_file()}
    _run_bake(context, archived, folder, reporter, commands.load_definition(archived, folder, _unique_argument()))
    return {cache: (folder / commands.archive_name(cache)).stat().st_size for cache in archived}


def find_caches(workspace: Workspace, reporter: Reporter) -> dict[str, str]:
    """Return the cache mounts in the services' Dockerfiles: id → the image that the first stage with it starts from."""
    base_refs = bases_lock.load(workspace.root).bases
    caches: dict[str, str] = {}
    for service in workspace.built_services:
        parsed = dockerfile.read(service.dockerfile)
        arguments = {**service.settings.args, **{base_argument(name): ref for name, ref in base_refs.items()}}
        for stage in parsed.stages:
            for cache in stage.caches:
                if not commands.MOUNT_ID.fullmatch(cache):
                    reporter.say(f"{service.dockerfile}: the cache mount {cache} stays: its id is not a plain one.")
                elif cache not in caches and (image := _base_image(parsed, stage, arguments)):
                    caches[cache] = image
    return dict(sorted(caches.items()))


def _unique_argument() -> str:
    return str(time.time_ns())


def _base_image(parsed: dockerfile.Dockerfile, stage: dockerfile.Stage, arguments: Mapping[str, str]) -> str | None:
    """Return the image that a stage starts from, through the stages before it."""
    images = dockerfile.pulled_images(parsed, stage.name or "", args=arguments, contexts=())
    return next(iter(images), None)


def _run_bake(
    context: RunContext, caches: Mapping[str, str], folder: Path, reporter: Reporter, definition: Mapping[str, Any]
) -> None:
    if not caches:
        return

    def create_bake(_secrets: Mapping[str, Path], buildx: Path, file: Path) -> tuple[Mapping[str, Any], list[str]]:
        return definition, commands.argv(buildx, file, builder_of(context.workspace), caches, folder)

    bake_runner.run_bake(context, [commands.bake_target_name(cache) for cache in caches], reporter, create_bake)
