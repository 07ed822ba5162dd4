"""Reading what a build left: an OCI layout, in a folder or an archive; its digest, and whether every byte is right."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from slipway.model.errors import GateRefused, SlipwayError

Read = Callable[[str], bytes]
CHUNK = 1 << 20
INDEX, MANIFEST = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"


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


def join(parts: Mapping[str, Path], into: Path) -> None:
    """Make one OCI layout of one image for several platforms, as BuildKit itself would write it; the parts are moved.

    Args:
        parts: platform → the folder of its OCI layout, each of one image for that platform.
        into: the folder to make.

    Raises:
        SlipwayError: a part is no OCI layout of one image.
    """
    listed = []
    (into / "blobs" / "sha256").mkdir(parents=True)
    for platform, layout in sorted(parts.items()):
        digest = oci_digest(layout)
        system, architecture, *variant = platform.split("/")
        about = {"architecture": architecture, "os": system, **({"variant": variant[0]} if variant else {})}
        size = (layout / "blobs" / digest.replace(":", "/")).stat().st_size
        listed.append({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": about})
        for blob in (layout / "blobs" / "sha256").iterdir():
            blob.replace(into / "blobs" / "sha256" / blob.name)
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}, indent=2).encode()
    name = hashlib.sha256(index).hexdigest()
    (into / "blobs" / "sha256" / name).write_bytes(index)
    whole = [{"mediaType": INDEX, "digest": f"sha256:{name}", "size": len(index)}]
    (into / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": whole}))
    (into / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def check(layout: Path) -> str:
    """Return the digest of the one image in an OCI layout's folder, every blob of which has its size and its digest.

    Raises:
        GateRefused: a blob is missing or was changed.
        SlipwayError: it is no OCI layout of one image.
    """
    digest = _only(layout, lambda name: (layout / name).read_bytes())
    todo = list(_read_json(layout / "index.json")["manifests"])
    seen: set[str] = set()
    while todo:
        each = todo.pop()
        if each["digest"] in seen:
            continue
        seen.add(each["digest"])
        blob = _checked(layout, each)
        if "manifest" in str(each.get("mediaType")) or "index" in str(each.get("mediaType")):
            todo += _named(_read_json(blob))
    return digest


def _checked(layout: Path, descriptor: dict[str, Any]) -> Path:
    """Return a blob's file, which is what its descriptor says."""
    digest = str(descriptor["digest"])
    path = layout / "blobs" / Path(*digest.split(":", 1))
    found = hashlib.sha256()
    size = 0
    try:
        with path.open("rb") as file:
            while part := file.read(CHUNK):
                found.update(part)
                size += len(part)
    except OSError as error:
        raise _changed(layout, f"{digest} is missing") from error
    if f"sha256:{found.hexdigest()}" != digest:
        raise _changed(layout, f"the bytes of {digest} are those of sha256:{found.hexdigest()}")
    if descriptor.get("size") not in (None, size):
        raise _changed(layout, f"{digest} has {size} bytes instead of {descriptor['size']}")
    return path


def _named(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from manifest.get("manifests") or []
    yield from manifest.get("layers") or []
    if config := manifest.get("config"):
        yield config


def _read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _changed(layout: Path, why: str) -> GateRefused:
    return GateRefused(
        f"{layout} is not what was built any more: {why}", remedy="Remove that folder, and build and scan it again."
    )


def _only(path: Path, read: Read) -> str:
    """Return the digest of the one image that a layout's index names."""
    try:
        found = {str(each["digest"]) for each in json.loads(read("index.json"))["manifests"]}
    except (OSError, LookupError, ValueError, TypeError) as error:
        raise _no_layout(path, f"index.json: {error}") from error
    if len(found) != 1:
        raise _no_layout(path, f"it holds {len(found)} images instead of one")
    return found.pop()


def _digest(path: Path, read: Read) -> str:
    digest = _only(path, read)
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
