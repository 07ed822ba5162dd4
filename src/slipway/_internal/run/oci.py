"""Reads OCI layouts, in folders or archives: their digests, and whether every blob is intact."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec

from slipway._internal.model.errors import GateRefused, SlipwayError
from slipway._internal.model.files import MAX_STATE_BYTES, read_bytes
from slipway._internal.model.parsing import convert, parse_json

ReadFile = Callable[[str], bytes]
CHUNK_BYTES = 1 << 20
BLOBS_FOLDER, LAYER_MARK = "blobs/sha256", ".layer."
INDEX_TYPE, MANIFEST_TYPE = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"


def oci_digest(path: Path) -> str:
    """Return the digest (`sha256:…`) of the one image in an OCI layout: a folder, or a tar archive of one.

    Raises:
        SlipwayError: it is not an OCI layout, holds several images or none, or its manifest is not what its name
        says.
    """
    if path.is_dir():
        return _verified_digest(path, lambda name: read_bytes(path / name, MAX_STATE_BYTES))
    try:
        with tarfile.open(path) as archive:
            members = {member.name.removeprefix("./"): member for member in archive.getmembers()}
            return _verified_digest(path, lambda name: _read_member(archive, members[name]))
    except (OSError, tarfile.TarError) as error:
        raise _invalid_layout_error(path, str(error)) from error


def hardlink_shared_blobs(layouts: Iterable[Path], to: Path) -> None:
    """Give a layout that is to be made the blobs of earlier ones, as hard links: BuildKit sends only what is missing.

    What the new image does not need is left over: see `remove_unreferenced_blobs`. What is damaged, in a way that its
    size tells, is not handed on. Where a file system has no hard links, all is sent.

    Args:
        layouts: folders of OCI layouts.
        to: the folder of the new one.
    """
    for layout in layouts:
        with suppress(OSError, LookupError, SlipwayError):
            for descriptor in _walk_descriptors(layout):
                blob = _blob_path(layout, descriptor["digest"])
                if LAYER_MARK in str(descriptor.get("mediaType")) and blob.stat().st_size == descriptor["size"]:
                    (to / BLOBS_FOLDER).mkdir(parents=True, exist_ok=True)
                    (to / BLOBS_FOLDER / blob.name).hardlink_to(blob)


def remove_unreferenced_blobs(layout: Path) -> None:
    """Remove the blobs that an OCI layout's image does not name."""
    named = {_blob_path(layout, descriptor["digest"]) for descriptor in _walk_descriptors(layout)}
    for blob in (layout / BLOBS_FOLDER).iterdir():
        if blob not in named:
            blob.unlink()


def merge_platforms(parts: Mapping[str, Path], into: Path) -> None:
    """Make one OCI layout of one image for several platforms, as BuildKit itself would write it; the parts are moved.

    Args:
        parts: platform → the folder of its OCI layout, each of one image for that platform.
        into: the folder to make.

    Raises:
        SlipwayError: a part is not an OCI layout of one image.
    """
    manifests = []
    (into / BLOBS_FOLDER).mkdir(parents=True)
    for platform, layout in sorted(parts.items()):
        digest = oci_digest(layout)
        system, architecture, *variant = platform.split("/")
        platform_fields = {"architecture": architecture, "os": system, **({"variant": variant[0]} if variant else {})}
        size = _blob_path(layout, digest).stat().st_size
        manifests.append({"mediaType": MANIFEST_TYPE, "digest": digest, "size": size, "platform": platform_fields})
        for blob in (layout / BLOBS_FOLDER).iterdir():
            blob.replace(into / BLOBS_FOLDER / blob.name)
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}, indent=2).encode()
    name = hashlib.sha256(index).hexdigest()
    (into / BLOBS_FOLDER / name).write_bytes(index)
    index_descriptors = [{"mediaType": INDEX_TYPE, "digest": f"sha256:{name}", "size": len(index)}]
    (into / "index.json").write_text(
        json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": index_descriptors})
    )
    (into / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def verify_layout(layout: Path) -> str:
    """Return the digest of the one image in an OCI layout's folder, every blob of which has its size and its digest.

    Raises:
        GateRefused: a blob is missing or was changed.
        SlipwayError: it is not an OCI layout of one image.
    """
    digest = _single_image_digest(layout, lambda name: read_bytes(layout / name, MAX_STATE_BYTES))
    for descriptor in _walk_descriptors(layout):
        _verify_blob(layout, descriptor)
    return digest


def _walk_descriptors(layout: Path) -> Iterator[dict[str, Any]]:
    """Yield each blob's descriptor once, the image's first; its content is read when the next is asked for."""
    pending = _read_descriptors(layout, layout / "index.json")
    seen: set[str] = set()
    while pending:
        descriptor = pending.pop()
        if descriptor["digest"] in seen:
            continue
        seen.add(descriptor["digest"])
        yield descriptor
        if "manifest" in str(descriptor.get("mediaType")) or "index" in str(descriptor.get("mediaType")):
            pending += _read_descriptors(layout, _blob_path(layout, descriptor["digest"]))


def _blob_path(layout: Path, digest: str) -> Path:
    return layout / "blobs" / Path(*digest.split(":", 1))


def _verify_blob(layout: Path, descriptor: dict[str, Any]) -> None:
    """Raise GateRefused where a blob's file is not what its descriptor says."""
    digest = str(descriptor["digest"])
    path = _blob_path(layout, digest)
    actual = hashlib.sha256()
    size = 0
    try:
        with path.open("rb") as file:
            while part := file.read(CHUNK_BYTES):
                actual.update(part)
                size += len(part)
    except OSError as error:
        raise _changed_error(layout, f"{digest} is missing") from error
    if f"sha256:{actual.hexdigest()}" != digest:
        raise _changed_error(layout, f"the bytes of {digest} are those of sha256:{actual.hexdigest()}")
    if descriptor.get("size") not in (None, size):
        raise _changed_error(layout, f"{digest} has {size} bytes instead of {descriptor['size']}")


class _Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    digest: Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$")]
    size: int | None = None
    media_type: str | None = None


class _DescriptorLists(msgspec.Struct, frozen=True):
    """What an index or a manifest names."""

    manifests: list[_Descriptor] | None = None
    layers: list[_Descriptor] | None = None
    config: _Descriptor | None = None


def _read_descriptors(layout: Path, path: Path) -> list[dict[str, Any]]:
    """Return the descriptors in an index or a manifest of a layout; SlipwayError where it is neither."""
    try:
        document: dict[str, Any] = parse_json(read_bytes(path, MAX_STATE_BYTES), dict[str, Any])
        convert(document, _DescriptorLists)
    except (OSError, ValueError) as error:
        raise _invalid_layout_error(layout, f"{path.name}: {error}") from error
    config = document.get("config")
    return [*(document.get("manifests") or []), *(document.get("layers") or []), *([config] if config else [])]


def _changed_error(layout: Path, why: str) -> GateRefused:
    return GateRefused(
        f"{layout} has changed since it was built: {why}", remedy="Remove that folder, and build and scan it again."
    )


def _single_image_digest(path: Path, read: ReadFile) -> str:
    """Return the digest of the one image that a layout's index names."""
    try:
        index: _DescriptorLists = parse_json(read("index.json"), _DescriptorLists)
        digests = {descriptor.digest for descriptor in index.manifests or ()}
    except (OSError, LookupError, ValueError) as error:
        raise _invalid_layout_error(path, f"index.json: {error}") from error
    if len(digests) != 1:
        raise _invalid_layout_error(path, f"it holds {len(digests)} images instead of one")
    return digests.pop()


def _verified_digest(path: Path, read: ReadFile) -> str:
    digest = _single_image_digest(path, read)
    algorithm, _, value = digest.partition(":")
    try:
        manifest = read(f"blobs/{algorithm}/{value}")
    except (OSError, LookupError) as error:
        raise _invalid_layout_error(path, f"the manifest {digest} is missing") from error
    if algorithm != "sha256" or hashlib.sha256(manifest).hexdigest() != value:
        raise SlipwayError(
            f"{path}: the manifest is not {digest}; it was changed or damaged",
            remedy="Remove it and build again.",
        )
    return digest


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def _invalid_layout_error(path: Path, why: str) -> SlipwayError:
    return SlipwayError(f"{path} is not an OCI layout: {why}", remedy="Remove it, and run `invoke build` again.")
