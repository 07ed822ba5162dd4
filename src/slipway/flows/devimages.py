"""The images of `invoke dev`: built as quickly as can be, or the running one with folders of sources laid over it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from slipway.commands import bake
from slipway.content import sync
from slipway.content.digest import BuildInputs, Manifest
from slipway.content.mirror import with_normal_modes
from slipway.flows import baking
from slipway.flows.report import Silence
from slipway.flows.standing import Ground
from slipway.model.errors import SlipwayError
from slipway.provider.images import pull
from slipway.provider.kind import Stop
from slipway.run import engine
from slipway.toolchain.builder import name_of as builder_of


def build(ground: Ground, inputs: Mapping[str, BuildInputs]) -> dict[str, str]:
    """Build services by one bake, and return their images, which the engine then has, by digest.

    Raises:
        SlipwayError: a step failed; its last lines and its log are in the error.
    """
    if not inputs:
        return {}
    workspace = ground.workspace
    platform = native()
    sources = {name: with_normal_modes(each, workspace.scratch) for name, each in inputs.items()}
    metadata = workspace.scratch / "run" / f"dev-{os.getpid()}.json"

    def made(secrets: Mapping[str, Path], buildx: Path, file: Path) -> tuple[Mapping[str, Any], list[str]]:
        targets = [
            bake.Target(name, for_platform(each, platform), (f"{workspace.repository(name)}:dev",), secrets)
            for name, each in sources.items()
        ]
        definition = bake.definition(targets, "dev", workspace.scratch)
        return definition, bake.argv(buildx, file, builder_of(workspace), targets, metadata=metadata)

    try:
        baking.carry_out(ground, list(inputs), Silence(), made)
        told = baking.metadata_of(metadata)
    finally:
        metadata.unlink(missing_ok=True)
    unnamed = [name for name in inputs if not told.get(name, {}).get("containerimage.digest")]
    if unnamed:
        raise SlipwayError(
            f"BuildKit named no image of {', '.join(unnamed)}", remedy="`invoke doctor` shows the builder."
        )
    images = {name: f"{workspace.repository(name)}@{told[name]['containerimage.digest']}" for name in inputs}
    with engine.speaking(), ThreadPoolExecutor(len(images)) as pool:
        list(pool.map(lambda ref: pull(ref, Stop()), images.values()))
    return images


def native() -> str:
    """Return the engine's own platform: others are not built for a container that runs there."""
    with engine.speaking():
        return f"linux/{engine.client().version()['Arch']}"


def for_platform(inputs: BuildInputs, platform: str) -> BuildInputs:
    """Return what decides the image of one platform, where it is among several."""
    return replace(inputs, platforms=(platform,)) if platform in inputs.platforms else inputs


def pack(image: str, inputs: BuildInputs, folders: Sequence[sync.Folder]) -> dict[str, bytes]:
    """Return archives of folders of sources, by the places that an image has them in."""
    with engine.speaking():
        workdir = engine.client().images.get(image).attrs["Config"].get("WorkingDir", "")
    return {each.within(workdir): sync.archive(inputs, each) for each in folders}


def holds(
    container: str, inputs: BuildInputs, folders: Sequence[sync.Folder], image: Manifest, wanted: Manifest
) -> bool:
    """Whether a container of an image has folders just as the sources had them when it was built.

    Args:
        container: its id; nothing was copied into it.
        inputs: what the image is built from.
        folders: the folders.
        image: the manifest that the image was built from.
        wanted: the manifest of the present sources.
    """
    with engine.speaking():
        found = engine.client().containers.get(container)
        workdir = found.image.attrs["Config"].get("WorkingDir", "")
        return all(
            sync.same_as_built(_packed(found, each.within(workdir)), inputs, each, image, wanted) for each in folders
        )


def _packed(container: Any, folder: str) -> bytes:
    """Return a container's folder as a tar archive; an empty one where it has none."""
    try:
        return b"".join(container.get_archive(folder)[0])
    except engine.sdk().errors.NotFound:
        return bytes(1024)
