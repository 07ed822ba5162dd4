"""Reading what a build left: an OCI layout, in a folder or an archive; its digest, and whether every byte is right."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec

from slipway.model.errors import GateRefused, SlipwayError
from slipway.model.files import MEMORY_LIMIT, read_bytes
from slipway.model.parsing import convert, parse_json

Read = Callable[[str], bytes]
CHUNK = 1 << 20
BLOBS, LAYER = "blobs/sha256", ".layer."
INDEX, MANIFEST = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"


def oci_digest(path: Path) -> str:
    """Return the digest (`sha256:…`) of the one image in an OCI layout: a folder, or a tar archive of one.

    Raises:
        SlipwayError: it is no OCI layout, holds several images or none, or its manifest is not what its name
        says.
    """
    if path.is_dir():
        return _digest(path, lambda name: read_bytes(path / name, MEMORY_LIMIT))
    try:
        with tarfile.open(path) as archive:
            members = {member.name.removeprefix("./"): member for member in archive.getmembers()}
            return _digest(path, lambda name: _member(archive, members[name]))
    except (OSError, tarfile.TarError) as error:
        raise _no_layout(path, str(error)) from error


def lend(layouts: Iterable[Path], to: Path) -> None:
    """Give a layout that is to be made the blobs of earlier ones, as hard links: BuildKit sends only what is missing.

    What the new image does not need is left over: see `tidy`. What is damaged, in a way that its size tells, is not
    handed on. Where a file system has no hard links, all is sent.

    Args:
        layouts: folders of OCI layouts.
        to: the folder of the new one.
    """
    for layout in layouts:
        with suppress(OSError, LookupError, SlipwayError):
            for each in _descriptors(layout):
                blob = _blob(layout, each["digest"])
                if LAYER in str(each.get("mediaType")) and blob.stat().st_size == each["size"]:
                    (to / BLOBS).mkdir(parents=True, exist_ok=True)
                    (to / BLOBS / blob.name).hardlink_to(blob)


def tidy(layout: Path) -> None:
    """Remove the blobs that an OCI layout's image does not name."""
    named = {_blob(layout, each["digest"]) for each in _descriptors(layout)}
    for blob in (layout / BLOBS).iterdir():
        if blob not in named:
            blob.unlink()


def join(parts: Mapping[str, Path], into: Path) -> None:
    """Make one OCI layout of one image for several platforms, as BuildKit itself would write it; the parts are moved.

    Args:
        parts: platform → the folder of its OCI layout, each of one image for that platform.
        into: the folder to make.

    Raises:
        SlipwayError: a part is no OCI layout of one image.
    """
    listed = []
    (into / BLOBS).mkdir(parents=True)
    for platform, layout in sorted(parts.items()):
        digest = oci_digest(layout)
        system, architecture, *variant = platform.split("/")
        about = {"architecture": architecture, "os": system, **({"variant": variant[0]} if variant else {})}
        size = _blob(layout, digest).stat().st_size
        listed.append({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": about})
        for blob in (layout / BLOBS).iterdir():
            blob.replace(into / BLOBS / blob.name)
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}, indent=2).encode()
    name = hashlib.sha256(index).hexdigest()
    (into / BLOBS / name).write_bytes(index)
    whole = [{"mediaType": INDEX, "digest": f"sha256:{name}", "size": len(index)}]
    (into / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": whole}))
    (into / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def check(layout: Path) -> str:
    """Return the digest of the one image in an OCI layout's folder, every blob of which has its size and its digest.

    Raises:
        GateRefused: a blob is missing or was changed.
        SlipwayError: it is no OCI layout of one image.
    """
    digest = _only(layout, lambda name: read_bytes(layout / name, MEMORY_LIMIT))
    for each in _descriptors(layout):
        _check(layout, each)
    return digest


def _descriptors(layout: Path) -> Iterator[dict[str, Any]]:
    """Yield each blob's descriptor once, the image's first; its content is read when the next is asked for."""
    todo = _listed(layout, layout / "index.json")
    seen: set[str] = set()
    while todo:
        each = todo.pop()
        if each["digest"] in seen:
            continue
        seen.add(each["digest"])
        yield each
        if "manifest" in str(each.get("mediaType")) or "index" in str(each.get("mediaType")):
            todo += _listed(layout, _blob(layout, each["digest"]))


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / Path(*digest.split(":", 1))


def _check(layout: Path, descriptor: dict[str, Any]) -> None:
    """Raise GateRefused where a blob's file is not what its descriptor says."""
    digest = str(descriptor["digest"])
    path = _blob(layout, digest)
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


class _Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    digest: Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$")]
    size: int | None = None
    media_type: str | None = None


class _Lists(msgspec.Struct, frozen=True):
    """What an index or a manifest names."""

    manifests: list[_Descriptor] | None = None
    layers: list[_Descriptor] | None = None
    config: _Descriptor | None = None


def _listed(layout: Path, path: Path) -> list[dict[str, Any]]:
    """Return the descriptors in an index or a manifest of a layout; SlipwayError where it is neither."""
    try:
        found: dict[str, Any] = parse_json(read_bytes(path, MEMORY_LIMIT), dict[str, Any])
        convert(found, _Lists)
    except (OSError, ValueError) as error:
        raise _no_layout(layout, f"{path.name}: {error}") from error
    config = found.get("config")
    return [*(found.get("manifests") or []), *(found.get("layers") or []), *([config] if config else [])]


def _changed(layout: Path, why: str) -> GateRefused:
    return GateRefused(
        f"{layout} is not what was built any more: {why}", remedy="Remove that folder, and build and scan it again."
    )


def _only(path: Path, read: Read) -> str:
    """Return the digest of the one image that a layout's index names."""
    try:
        index: _Lists = parse_json(read("index.json"), _Lists)
        found = {each.digest for each in index.manifests or ()}
    except (OSError, LookupError, ValueError) as error:
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
    return SlipwayError(f"{path} is no OCI layout: {why}", remedy="Remove it, and run `invoke build` again.")
