"""Reading what a build left: the digest of an OCI layout, in a folder or an archive."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

from slipway.model.errors import SlipwayError

Read = Callable[[str], bytes]


def oci_digest(path: Path) -> str:
    """Return the digest (`sha256:…`) of the one image in an OCI layout: a folder, or a tar archive of one.

    Raises:
        SlipwayError: it is no OCI layout, holds several images or none, or its manifest is not what its name
        says.
    """
    if path.is_dir():
        return _digest(path, lambda name: (path / name).read_bytes())
    try:
        with tarfile.open(path) as archive:
            members = {member.name.removeprefix("./"): member for member in archive.getmembers()}
            return _digest(path, lambda name: _member(archive, members[name]))
    except (OSError, tarfile.TarError) as error:
        raise _no_layout(path, str(error)) from error


def _digest(path: Path, read: Read) -> str:
    try:
        found = {str(each["digest"]) for each in json.loads(read("index.json"))["manifests"]}
    except (OSError, LookupError, ValueError, TypeError) as error:
        raise _no_layout(path, f"index.json: {error}") from error
    if len(found) != 1:
        raise _no_layout(path, f"it holds {len(found)} images instead of one")
    digest = found.pop()
    algorithm, _, value = digest.partition(":")
    try:
        manifest = read(f"blobs/{algorithm}/{value}")
    except (OSError, LookupError) as error:
        raise _no_layout(path, f"the manifest {digest} is missing") from error
    if algorithm != "sha256" or hashlib.sha256(manifest).hexdigest() != value:
        raise SlipwayError(
            f"{path}: the manifest is not {digest}; it was changed or damaged",
            remedy="Remove it and build again.",
        )
    return digest


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def _no_layout(path: Path, why: str) -> SlipwayError:
    return SlipwayError(f"{path} is no OCI layout: {why}", remedy="Run `invoke build` again.")
