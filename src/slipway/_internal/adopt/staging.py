"""Writes a plan: all of it into scratch first, where it is checked as a workspace, then each folder in its place."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway._internal.adopt.compose_mounts import EXTRA_FOLDER
from slipway._internal.adopt.copying import copy_files, list_files, remove_files
from slipway._internal.adopt.pins import base_arguments
from slipway._internal.adopt.plan import Draft, Plan
from slipway._internal.adopt.service_file import render
from slipway._internal.content import pinning
from slipway._internal.content.digest import TEST_STAGE
from slipway._internal.content.dockerfile import read as read_dockerfile
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.scratch import remove_if_killed, temporary_folder
from slipway._internal.model.workspace import Service, Workspace, load_workspace
from slipway._internal.scaffold.service_creation import create_service, refuse_taken


@contextmanager
def staged(workspace: Workspace, plan: Plan) -> Iterator[Path]:
    """Yield a folder with the services of a plan, each whole and checked, for the time of a `with`.

    What keeps one from being built is taken down in its rows.

    Raises:
        ConfigError: a service is there already, a link leads out of its sources, or the workspace would not load.
    """
    for draft in plan.drafts:
        refuse_taken(workspace.root, draft.name)
    with temporary_folder(workspace.scratch, "adopt") as root:
        for name in ("workspace.toml", "libs", "kinds"):
            if (workspace.root / name).exists():
                (root / name).symlink_to(workspace.root / name)
        services = root / "services"
        services.mkdir()
        for service in workspace.services:
            (services / service.name).symlink_to(service.folder)
        for draft in plan.drafts:
            _write(draft, root, services / draft.name)
        _check(workspace, plan, root)
        yield services


def _write(draft: Draft, root: Path, folder: Path) -> None:
    if draft.kind:
        create_service(root, draft.name, draft.kind)
    folder.mkdir(exist_ok=True)
    if draft.sources:
        copy_files(draft.sources, list_files(draft.sources, draft.without), folder)
    for name, source in draft.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            copy_files(source, list_files(source), target)
            target.mkdir(exist_ok=True)
        else:
            shutil.copy2(source, target)
    for name, text in draft.texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    if any(name.startswith(f"{EXTRA_FOLDER}/") for name in draft.files):
        _let_through(folder)
    if draft.dockerfile is not None:
        data = draft.dockerfile.encode("utf-8", "surrogateescape")
        for other in folder.glob("[Dd]ockerfile"):
            other.unlink()
        (folder / "Dockerfile").write_bytes(data)
    if not draft.kind:
        (folder / "service.toml").write_text(render(draft), encoding="utf-8")


def _let_through(folder: Path) -> None:
    """Have a service's ignore files let the build see what is put beside its sources."""
    for name in (".dockerignore", "Dockerfile.dockerignore"):
        if (folder / name).is_file():
            with (folder / name).open("a", encoding="utf-8") as ignored:
                ignored.write(f"\n# What `invoke adopt` has put beside the sources:\n!{EXTRA_FOLDER}\n")


def _check(workspace: Workspace, plan: Plan, root: Path) -> None:
    """Load the workspace as it would be, and look at what each new service is built from."""
    try:
        loaded = load_workspace(root)
    except SlipwayError as error:
        message = error.message.replace(str(root), str(workspace.root))
        raise ConfigError(
            f"the adopted services would not make a workspace that loads: {message}", remedy=error.remedy
        ) from error
    args = base_arguments(workspace)
    for draft in plan.drafts:
        service = loaded.service(draft.name)
        if service.settings.image is None and not draft.kind:
            _check_build(workspace, draft, service, args)


def _check_build(workspace: Workspace, draft: Draft, service: Service, bases: dict[str, str]) -> None:
    try:
        dockerfile = read_dockerfile(service.dockerfile)
        args = {**bases, **service.settings.args}
        for target in (service.settings.target, *([TEST_STAGE] if dockerfile.has_stage(TEST_STAGE) else [])):
            pinning.check(dockerfile, target, args=args, platforms=workspace.settings.build.platforms)
    except SlipwayError as error:
        if any(row.fate == "to do" and row.key == "FROM" for row in draft.rows):
            return  # the row that names the image says it all
        message = error.message.replace(str(service.folder), f"services/{draft.name}")
        draft.tell("to do", f"services/{draft.name}/Dockerfile", "Dockerfile", message, error.remedy)


def install(workspace: Workspace, plan: Plan, staged_services: Path) -> list[Path]:
    """Put the staged services in their places: all of them, or none.

    Raises:
        ConfigError: one cannot be written.
    """
    done: list[Path] = []
    try:
        (workspace.root / "services").mkdir(exist_ok=True)
        for draft in plan.drafts:
            final = workspace.root / "services" / draft.name
            _move(staged_services / draft.name, final, workspace.scratch)
            done.append(final)
        load_workspace(workspace.root)
    except BaseException as error:
        for folder in done:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, SlipwayError):
            raise ConfigError(
                f"services cannot be written: {error.strerror}", remedy="Check the permissions of services/."
            ) from error
        raise
    return done


def _move(staged_folder: Path, final: Path, scratch: Path) -> None:
    """Rename a folder; across file systems by a copy beside its place."""
    try:
        os.rename(staged_folder, final)  # noqa: PTH104 - refuses what is there
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = final.with_name(f".{final.name}.{os.getpid()}")
        with remove_if_killed(scratch, partial):
            shutil.copytree(staged_folder, partial, symlinks=True)
            os.rename(partial, final)  # noqa: PTH104


def remove_originals(plan: Plan) -> None:
    """Remove what was moved from its old place; what was left out stays there."""
    for draft in plan.drafts:
        if draft.sources:
            remove_files(draft.sources, list_files(draft.sources, draft.without))
