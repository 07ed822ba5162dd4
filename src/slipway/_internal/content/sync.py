"""Decides what `invoke dev` does about a change: nothing, a copy of the sources into the container, or a build."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from slipway._internal.content import build_context, dockerignore
from slipway._internal.content.digest import BuildInputs, ContentManifest
from slipway._internal.model.workspace import Workspace

SyncAction = Literal["nothing", "sync", "build"]


@dataclass(frozen=True)
class SyncFolder:
    """One entry of a service's `[dev] sync`: a folder of a context (empty: the service's own)."""

    context: str
    path: str

    @classmethod
    def parse(cls, entry: str) -> SyncFolder:
        context, colon, path = entry.partition(":")
        return cls(context, path) if colon else cls("", context)

    def covers(self, component: str) -> bool:
        """Whether a component of a content digest's manifest is this folder, or below it."""
        name = f"context {self.context}: {self.path}" if self.context else f"file {self.path}"
        return component == name or component.startswith(f"{name}/")

    def path_in_image(self, workdir: str) -> str:
        """Return where an image has it."""
        return str(PurePosixPath(workdir or "/") / self.path)


def choose_action(
    image: Mapping[str, str] | None,
    running: Mapping[str, str] | None,
    wanted: Mapping[str, str],
    sync: Sequence[SyncFolder],
) -> SyncAction:
    """Return how a service is brought up to its present sources.

    Args:
        image: the manifest that the running container's image was built from; None when it is not known for sure.
        running: the manifest of what it serves, which is another where sources were copied into it.
        wanted: the manifest of the sources.
        sync: the folders that may be copied; none without `--sync`.
    """
    if running == wanted:
        return "nothing"
    if image is None or not sync:
        return "build"
    changed = {name for name in {*image, *wanted} if image.get(name) != wanted.get(name)}
    return "sync" if all(any(folder.covers(name) for folder in sync) for name in changed) else "build"


def affected_services(workspace: Workspace, paths: Iterable[Path]) -> frozenset[str]:
    """Return the services that a change of these paths may reach; all, where it is outside of services and libs."""
    found: set[str] = set()
    users = {service.name: service.settings.libs for service in workspace.services}
    for path in paths:
        parts = path.relative_to(workspace.root).parts if path.is_relative_to(workspace.root) else ()
        if len(parts) > 1 and parts[0] == "services":
            found |= {parts[1]} & users.keys()
        elif len(parts) > 1 and parts[0] == "libs":
            found |= {name for name, libs in users.items() if parts[1] in libs}
        else:
            return frozenset(users)
    return frozenset(found)


def make_archive(inputs: BuildInputs, folder: SyncFolder) -> bytes:
    """Return a tar archive of a folder's files as BuildKit would be sent them, readable for everybody.

    Raises:
        ConfigError: something in it cannot be read.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, name, entry in list_entries(inputs, folder):
            info = tarfile.TarInfo(name)
            info.mode = entry.mode or build_context.FILE_MODE
            if entry.kind == "link":
                info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
                tar.addfile(info)
            elif entry.kind == "folder":
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif entry.kind == "file":
                data = path.read_bytes()
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def list_entries(inputs: BuildInputs, folder: SyncFolder) -> list[tuple[Path, str, build_context.ContextEntry]]:
    """Return what is below a folder: where it is, its path in the folder, and what it is."""
    root = inputs.contexts[folder.context] if folder.context else inputs.context
    rules = (
        dockerignore.load_dockerignore(root)
        if folder.context
        else dockerignore.load_dockerignore(root, inputs.dockerfile)
    )
    above = f"{folder.path}/"
    found = [entry for entry in build_context.walk(root, rules) if entry.path.startswith(above)]
    return [(root / entry.path, entry.path.removeprefix(above), entry) for entry in found]


def matches_image(
    packed: bytes, inputs: BuildInputs, folder: SyncFolder, image: ContentManifest, wanted: ContentManifest
) -> bool:
    """Whether an image's folder equals the sources, apart from changes since the image was built.

    If it does not, the Dockerfile puts it elsewhere or makes files in it, and a copy would break the program.

    Args:
        packed: the folder as the engine packs it, a tar archive with the folder itself in it.
        inputs: what the image is built from.
        folder: the folder.
        image: the manifest that the image was built from.
        wanted: the manifest of the present sources.
    """
    prefix = f"context {folder.context}: {folder.path}/" if folder.context else f"file {folder.path}/"
    sources = {name: (path, entry) for path, name, entry in list_entries(inputs, folder)}
    expected = {name.removeprefix(prefix) for name in image if name.startswith(prefix)}
    found = set()
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for member in tar:
            name = member.name.partition("/")[2]
            if not name:
                continue
            found.add(name)
            component = f"{prefix}{name}"
            if name in sources and member.isfile() and image.get(component) == wanted.get(component):
                content = tar.extractfile(member)
                if content is None or content.read() != sources[name][0].read_bytes():
                    return False
    return found == expected
