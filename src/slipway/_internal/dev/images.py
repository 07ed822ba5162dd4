"""The images of `invoke dev`: built as quickly as possible, or the running one with source folders copied over it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from slipway._internal.build import bake_runner
from slipway._internal.commands import bake
from slipway._internal.content import sync
from slipway._internal.content.digest import BuildInputs, ContentManifest
from slipway._internal.content.normalized_contexts import normalize_inputs
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.images import pull_image
from slipway._internal.run import engine
from slipway._internal.toolchain.builder import builder_of


def build_images(context: RunContext, inputs: Mapping[str, BuildInputs]) -> dict[str, str]:
    """Build services by one bake, and return their images, which the engine then has, by digest.

    Raises:
        SlipwayError: a step failed; its last lines and its log are in the error.
    """
    if not inputs:
        return {}
    workspace = context.workspace
    platform = engine_platform()
    sources = {name: normalize_inputs(service_inputs, workspace.scratch) for name, service_inputs in inputs.items()}
    metadata_file = workspace.scratch / "run" / f"dev-{os.getpid()}.json"

    def bake_command(secrets: Mapping[str, Path], buildx: Path, file: Path) -> tuple[Mapping[str, Any], list[str]]:
        targets = [
            bake.BakeTarget(
                name, limit_to_platform(service_inputs, platform), (f"{workspace.repository(name)}:dev",), secrets
            )
            for name, service_inputs in sources.items()
        ]
        definition = bake.make_definition(targets, "dev", workspace.scratch)
        return definition, bake.argv(buildx, file, builder_of(workspace), targets, metadata=metadata_file)

    try:
        bake_runner.run_bake(context, list(inputs), NullReporter(), bake_command)
        bake_metadata = bake_runner.read_metadata(metadata_file)
    finally:
        metadata_file.unlink(missing_ok=True)
    unnamed = [name for name in inputs if not bake_metadata.get(name, {}).get("containerimage.digest")]
    if unnamed:
        raise SlipwayError(
            f"BuildKit named no image of {', '.join(unnamed)}", remedy="`invoke doctor` shows the builder."
        )
    images = {name: f"{workspace.repository(name)}@{bake_metadata[name]['containerimage.digest']}" for name in inputs}
    with engine.docker_errors(), ThreadPoolExecutor(len(images)) as pool:
        list(pool.map(lambda ref: pull_image(ref, CancellationToken()), images.values()))
    return images


def engine_platform() -> str:
    """Return the engine's own platform: others are not built for a container that runs there."""
    with engine.docker_errors():
        return f"linux/{engine.client().version()['Arch']}"


def limit_to_platform(inputs: BuildInputs, platform: str) -> BuildInputs:
    """Return what decides the image of one platform, where it is among several."""
    return replace(inputs, platforms=(platform,)) if platform in inputs.platforms else inputs


def pack_folders(image: str, inputs: BuildInputs, folders: Sequence[sync.SyncFolder]) -> dict[str, bytes]:
    """Return archives of folders of sources, by the places that an image has them in."""
    with engine.docker_errors():
        workdir = engine.client().images.get(image).attrs["Config"].get("WorkingDir", "")
    return {folder.path_in_image(workdir): sync.make_archive(inputs, folder) for folder in folders}


def has_folders_as_built(
    container: str,
    inputs: BuildInputs,
    folders: Sequence[sync.SyncFolder],
    built_manifest: ContentManifest,
    current_manifest: ContentManifest,
) -> bool:
    """Whether a container of an image has folders just as the sources had them when it was built.

    Args:
        container: its id; nothing was copied into it.
        inputs: what the image is built from.
        folders: the folders.
        built_manifest: the manifest that the image was built from.
        current_manifest: the manifest of the present sources.
    """
    with engine.docker_errors():
        engine_container = engine.client().containers.get(container)
        workdir = engine_container.image.attrs["Config"].get("WorkingDir", "")
        return all(
            sync.matches_image(
                _read_folder_archive(engine_container, folder.path_in_image(workdir)),
                inputs,
                folder,
                built_manifest,
                current_manifest,
            )
            for folder in folders
        )


def _read_folder_archive(container: Any, folder: str) -> bytes:
    """Return a container's folder as a tar archive; an empty one where it has none."""
    try:
        return b"".join(container.get_archive(folder)[0])
    except engine.load_sdk().errors.NotFound:
        return bytes(1024)
