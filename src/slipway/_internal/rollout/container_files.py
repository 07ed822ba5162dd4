"""Files put into a container's volumes: the one way in that works with remote engines and read-only roots."""

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
    """Numeric user and group that a file belongs to."""

    uid: int
    gid: int


ROOT_OWNER = FileOwner(0, 0)


def put_files(
    container: Any, folder: str, files: Mapping[str, str], *, owner: FileOwner = ROOT_OWNER, mode: int = 0o444
) -> None:
    """Write files into a folder of a container, running or not; the folder must be a volume of it."""
    container.put_archive(folder, build_archive(files, owner=owner, mode=mode))


def build_archive(files: Mapping[str, str], *, owner: FileOwner, mode: int) -> bytes:
    """Return the tar archive of these files, the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in sorted(files.items()):
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(data), mode, owner.uid, owner.gid
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def read_file(container: Any, path: str) -> str:
    """Return a file's text from a container, running or not; empty when there is no such file."""
    try:
        parts, _ = container.get_archive(path)
    except engine.load_sdk().errors.NotFound:
        return ""
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as tar:
        first = tar.next()
        content = tar.extractfile(first) if first else None
        return content.read().decode(errors="replace") if content else ""


def read_mode(container: Any, path: str) -> int:
    """Return the permissions of a file of a container, running or not; none when there is no such file."""
    try:
        parts, stat = container.get_archive(path)
    except engine.load_sdk().errors.NotFound:
        return 0
    b"".join(parts)  # read to its end, so that the connection can be used again
    return int(stat["mode"]) & 0o777


def resolve_owner(container: Any, user: str) -> FileOwner:
    """Return who an image's USER is, in numbers; the image's own /etc/passwd and group know names.

    Args:
        container: a created container of the image.
        user: what the image says: `65532`, `65532:65532`, `app`, `app:staff`, or nothing for root.

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
    """Return the third field and the fourth, where it is a number: uid and gid of a user, gid of a group."""
    for line in read_file(container, database).splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) >= 4 and is_number(fields[2]):
            return int(fields[2]), int(fields[3]) if is_number(fields[3]) else 0
    raise SlipwayError(
        f"the image runs as {name!r}, which its {database} doesn't know",
        remedy="Give the Dockerfile's last stage a numeric user: USER 65532:65532.",
    )
