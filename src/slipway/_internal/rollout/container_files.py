"""Puts files into a container's volumes: this also works with remote engines and read-only root file systems."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.parsing import is_number
from slipway._internal.run import engine


@dataclass(frozen=True)
class FileOwner:
    """The numeric user and group of a file."""

    uid: int
    gid: int


ROOT_OWNER = FileOwner(0, 0)


def put_files(
    container: Any, folder: str, files: Mapping[str, str], *, owner: FileOwner = ROOT_OWNER, mode: int = 0o444
) -> None:
    """Write files into a folder of a container, running or not; the folder must be one of its volumes."""
    container.put_archive(folder, build_archive(files, owner=owner, mode=mode))


def build_archive(files: Mapping[str, str], *, owner: FileOwner, mode: int) -> bytes:
    """Return a reproducible tar archive of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in sorted(files.items()):
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(data), mode, owner.uid, owner.gid
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def read_file(container: Any, path: str) -> str:
    """Return a file's text from a container, running or not; empty if the file does not exist."""
    try:
        parts, _ = container.get_archive(path)
    except engine.load_sdk().errors.NotFound:
        return ""
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as tar:
        first = tar.next()
        content = tar.extractfile(first) if first else None
        return content.read().decode(errors="replace") if content else ""


def read_folder(container: Any, path: str) -> dict[str, str]:
    """Return the text of each file in a folder of a container, running or not; empty if there is no such folder."""
    try:
        parts, _ = container.get_archive(path)
    except engine.load_sdk().errors.NotFound:
        return {}
    files: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.isfile() and entry.name.count("/") == 1 else None
            if content:
                files[entry.name.partition("/")[2]] = content.read().decode(errors="replace")
    return files


def resolve_owner(container: Any, user: str) -> FileOwner:
    """Return the numeric ids of an image's USER; names are looked up in the image's /etc/passwd and /etc/group.

    Args:
        container: a created container of the image.
        user: the image's USER: `65532`, `65532:65532`, `app`, `app:staff`, or empty for root.

    Raises:
        SlipwayError: the image has no such user or group.
    """
    name, _, group = (user or "0").partition(":")
    if is_number(name) and (is_number(group) or not group):
        return FileOwner(int(name), int(group or 0))
    uid, gid = (int(name), 0) if is_number(name) else _look_up_ids(container, "/etc/passwd", name)
    if group:
        gid = int(group) if is_number(group) else _look_up_ids(container, "/etc/group", group)[0]
    return FileOwner(uid, gid)


def _look_up_ids(container: Any, database: str, name: str) -> tuple[int, int]:
    """Return the third field, and the fourth if it is a number: uid and gid of a user, or gid of a group."""
    for line in read_file(container, database).splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) >= 4 and is_number(fields[2]):
            return int(fields[2]), int(fields[3]) if is_number(fields[3]) else 0
    raise SlipwayError(
        f"the image runs as {name!r}, which is not in its {database}",
        remedy="Set a numeric user in the Dockerfile's last stage: USER 65532:65532.",
    )
