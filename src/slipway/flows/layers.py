"""What an image is made of: its layers, their sizes as they are pushed, and the instruction that made each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from slipway.model import record as records
from slipway.model.errors import SlipwayError
from slipway.model.files import MEMORY_LIMIT, read_bytes, write_memory
from slipway.model.parsing import parse_json
from slipway.model.reading import read_memory
from slipway.model.workspace import Workspace
from slipway.run import registry

AT_ONCE = 16
Blob = Callable[[str], bytes]
"""Digest → the bytes of a manifest or configuration."""


class Layer(msgspec.Struct, frozen=True):
    """One layer: its digest, its size in bytes as it is stored, and what made it."""

    digest: str
    size: int
    made_by: str


def layers_of(workspace: Workspace, images: Mapping[str, str]) -> dict[str, list[Layer]]:
    """Return each service's layers, the lowest first; a service whose image is nowhere to be had is left out.

    They are read from what was built here, else asked of the registry; what is known of a digest is kept in
    `.slipway/records/images`, as it never changes.

    Args:
        workspace: the workspace.
        images: service → `repository@sha256:…`, or only the digest of what was built here.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(images, pool.map(lambda each: _layers(workspace, *each), images.items()), strict=True))
    return {service: layers for service, layers in found.items() if layers}


def forget(workspace: Workspace, needed: Iterable[str]) -> None:
    """Remove what is kept of images that no record names any more."""
    stays = {_kept(workspace, ref.rpartition("@")[2]) for ref in needed}
    for path in _folder(workspace).glob("*.json"):
        if path not in stays:
            path.unlink(missing_ok=True)


def _layers(workspace: Workspace, service: str, ref: str) -> list[Layer]:
    repository, _, digest = ref.rpartition("@")
    kept = _kept(workspace, digest)
    remembered: list[Layer] | None = read_memory(kept, list[Layer])
    if remembered is not None:
        return remembered
    for blob, manifest in (_from_layout(workspace, service), _from_registry(repository)):
        with suppress(OSError, LookupError, ValueError, TypeError, AttributeError, RecursionError, SlipwayError):
            layers = _read(blob, manifest, digest)
            write_memory(kept, msgspec.json.encode(layers).decode())
            return layers
    return []


def _read(blob: Blob, manifest: Blob, digest: str) -> list[Layer]:
    """Return the layers that a manifest lists; of an index with several platforms, those of the first."""
    found: dict[str, Any] = parse_json(manifest(digest), dict[str, Any])
    if "manifests" in found:
        return _read(blob, manifest, found["manifests"][0]["digest"])
    config: dict[str, Any] = parse_json(blob(found["config"]["digest"]), dict[str, Any])
    history = config.get("history") or []
    made = [str(each.get("created_by", "")) for each in history if not each.get("empty_layer")]
    layers = found["layers"]
    made = [*[""] * (len(layers) - len(made)), *made]  # a base may come without its history
    return [Layer(str(each["digest"]), int(each["size"]), told) for each, told in zip(layers, made, strict=False)]


def _from_layout(workspace: Workspace, service: str) -> tuple[Blob, Blob]:
    def blob(digest: str) -> bytes:
        path = next((workspace.scratch / "oci" / service).glob(f"*/blobs/{digest.replace(':', '/', 1)}"))
        return read_bytes(path, MEMORY_LIMIT)

    def found(digest: str) -> bytes:
        try:
            return blob(digest)
        except StopIteration:
            raise LookupError(digest) from None

    return found, found


def _from_registry(ref: str) -> tuple[Blob, Blob]:
    def place() -> tuple[registry.Registry, str]:
        if not ref:
            raise LookupError("it was never pushed")
        parts = registry.parse(f"{ref}:latest")
        return registry.open(parts.host, "pull"), parts.repository

    def blob(digest: str) -> bytes:
        opened, repository = place()
        return opened.blob(repository, digest)

    def manifest(digest: str) -> bytes:
        opened, repository = place()
        return opened.manifest(repository, digest).bytes

    return blob, manifest


def _folder(workspace: Workspace) -> Path:
    return records.folder_of(workspace.root) / "images"


def _kept(workspace: Workspace, digest: str) -> Path:
    return _folder(workspace) / f"{digest.replace(':', '-')}.json"
