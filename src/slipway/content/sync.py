"""What `invoke dev` makes of a change: nothing, a copy of the sources into the container, or a build."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from slipway.content import files, ignore
from slipway.content.digest import BuildInputs, Manifest
from slipway.model.workspace import Workspace

Way = Literal["nothing", "sync", "build"]


@dataclass(frozen=True)
class Folder:
    """One entry of a service's `[dev] sync`: a folder of a context (empty: the service's own)."""

    context: str
    path: str

    @classmethod
    def of(cls, entry: str) -> Folder:
        context, colon, path = entry.partition(":")
        return cls(context, path) if colon else cls("", context)

    def covers(self, component: str) -> bool:
        """Whether a component of a content digest's manifest is this folder, or below it."""
        name = f"context {self.context}: {self.path}" if self.context else f"file {self.path}"
        return component == name or component.startswith(f"{name}/")

    def within(self, workdir: str) -> str:
        """Return where an image has it."""
        return str(PurePosixPath(workdir or "/") / self.path)


def way(
    image: Mapping[str, str] | None, runs: Mapping[str, str] | None, wanted: Mapping[str, str], sync: Sequence[Folder]
) -> Way:
    """Return how a service gets to its present sources.

    Args:
        image: the manifest that the running container's image was built from; None when it is not known for sure.
        runs: the manifest of what it serves, which is another where sources were copied into it.
        wanted: the manifest of the sources.
        sync: the folders that may be copied; none without `--sync`.
    """
    if runs == wanted:
        return "nothing"
    if image is None or not sync:
        return "build"
    changed = {name for name in {*image, *wanted} if image.get(name) != wanted.get(name)}
    return "sync" if all(any(each.covers(name) for each in sync) for name in changed) else "build"


def reached(workspace: Workspace, paths: Iterable[Path]) -> frozenset[str]:
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


def archive(inputs: BuildInputs, folder: Folder) -> bytes:
    """Return a tar archive of a folder's files as BuildKit would be sent them, readable for everybody.

    Raises:
        ConfigError: something in it cannot be read.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for place, name, entry in entries(inputs, folder):
            about = tarfile.TarInfo(name)
            about.mode = entry.mode or files.READABLE
            if entry.kind == "link":
                about.type, about.linkname = tarfile.SYMTYPE, str(place.readlink())
                tar.addfile(about)
            elif entry.kind == "folder":
                about.type = tarfile.DIRTYPE
                tar.addfile(about)
            elif entry.kind == "file":
                data = place.read_bytes()
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))
    return buffer.getvalue()


def entries(inputs: BuildInputs, folder: Folder) -> list[tuple[Path, str, files.Entry]]:
    """Return what is below a folder: where it is, its path in the folder, and what it is."""
    root = inputs.contexts[folder.context] if folder.context else inputs.context
    rules = ignore.of_context(root) if folder.context else ignore.of_context(root, inputs.dockerfile)
    above = f"{folder.path}/"
    found = [each for each in files.walk(root, rules) if each.path.startswith(above)]
    return [(root / each.path, each.path.removeprefix(above), each) for each in found]


def same_as_built(packed: bytes, inputs: BuildInputs, folder: Folder, image: Manifest, wanted: Manifest) -> bool:
    """Whether an image holds a folder just as the sources have it, apart from what has changed since it was built.

    If it does not, the Dockerfile puts it elsewhere or makes files in it, and a copy would break the program.

    Args:
        packed: the folder as the engine packs it, a tar archive with the folder itself in it.
        inputs: what the image is built from.
        folder: the folder.
        image: the manifest that the image was built from.
        wanted: the manifest of the present sources.
    """
    prefix = f"context {folder.context}: {folder.path}/" if folder.context else f"file {folder.path}/"
    here = {name: (place, entry) for place, name, entry in entries(inputs, folder)}
    expected = {name.removeprefix(prefix) for name in image if name.startswith(prefix)}
    found = set()
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for each in tar:
            name = each.name.partition("/")[2]
            if not name:
                continue
            found.add(name)
            component = f"{prefix}{name}"
            if name in here and each.isfile() and image.get(component) == wanted.get(component):
                held = tar.extractfile(each)
                if held is None or held.read() != here[name][0].read_bytes():
                    return False
    return found == expected
