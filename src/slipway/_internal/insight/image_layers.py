"""An image's layers: their compressed sizes, and the instruction that made each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from slipway._internal.model import run_record as records
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.files import MAX_STATE_BYTES, read_bytes, write_best_effort
from slipway._internal.model.parsing import parse_json
from slipway._internal.model.structured_files import read_json_or_none
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import registry

MAX_PARALLEL = 16
BlobReader = Callable[[str], bytes]
"""Digest → the bytes of a manifest or configuration."""


class Layer(msgspec.Struct, frozen=True):
    """One layer: its digest, its size in bytes as it is stored, and what made it."""

    digest: str
    size: int
    made_by: str


def read_layers(workspace: Workspace, images: Mapping[str, str]) -> dict[str, list[Layer]]:
    """Return each service's layers, the lowest first; a service whose image is nowhere to be had is left out.

    They are read from what was built here, else asked of the registry; what is known of a digest is kept in
    `.slipway/records/images`, as it never changes.

    Args:
        workspace: the workspace.
        images: service → `repository@sha256:…`, or only the digest of what was built here.
    """
    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        layers_by_service = dict(
            zip(images, pool.map(lambda item: _layers_of_image(workspace, *item), images.items()), strict=True)
        )
    return {service: layers for service, layers in layers_by_service.items() if layers}


def remove_unneeded(workspace: Workspace, needed: Iterable[str]) -> None:
    """Remove what is kept of images that no record names any more."""
    kept_paths = {_cache_path(workspace, ref.rpartition("@")[2]) for ref in needed}
    for path in _cache_folder(workspace).glob("*.json"):
        if path not in kept_paths:
            path.unlink(missing_ok=True)


def _layers_of_image(workspace: Workspace, service: str, ref: str) -> list[Layer]:
    repository, _, digest = ref.rpartition("@")
    cache_path = _cache_path(workspace, digest)
    remembered: list[Layer] | None = read_json_or_none(cache_path, list[Layer])
    if remembered is not None:
        return remembered
    for blob, manifest in (_layout_readers(workspace, service), _registry_readers(workspace, repository)):
        with suppress(OSError, LookupError, ValueError, TypeError, AttributeError, RecursionError, SlipwayError):
            layers = _read_manifest(blob, manifest, digest)
            write_best_effort(cache_path, msgspec.json.encode(layers).decode())
            return layers
    return []


def _read_manifest(blob: BlobReader, manifest: BlobReader, digest: str) -> list[Layer]:
    """Return the layers that a manifest lists; of an index with several platforms, those of the first."""
    document: dict[str, Any] = parse_json(manifest(digest), dict[str, Any])
    if "manifests" in document:
        return _read_manifest(blob, manifest, document["manifests"][0]["digest"])
    config: dict[str, Any] = parse_json(blob(document["config"]["digest"]), dict[str, Any])
    history = config.get("history") or []
    instructions = [str(entry.get("created_by", "")) for entry in history if not entry.get("empty_layer")]
    layers = document["layers"]
    instructions = [*[""] * (len(layers) - len(instructions)), *instructions]  # a base may come without its history
    return [
        Layer(str(entry["digest"]), int(entry["size"]), instruction)
        for entry, instruction in zip(layers, instructions, strict=False)
    ]


def _layout_readers(workspace: Workspace, service: str) -> tuple[BlobReader, BlobReader]:
    def blob(digest: str) -> bytes:
        path = next((workspace.scratch / "oci" / service).glob(f"*/blobs/{digest.replace(':', '/', 1)}"))
        return read_bytes(path, MAX_STATE_BYTES)

    def manifest(digest: str) -> bytes:
        try:
            return blob(digest)
        except StopIteration:
            raise LookupError(digest) from None

    return manifest, manifest


def _registry_readers(workspace: Workspace, ref: str) -> tuple[BlobReader, BlobReader]:
    def open_repository() -> tuple[registry.Registry, str]:
        if not ref:
            raise LookupError("it was never pushed")
        parts = registry.parse_reference(f"{ref}:latest")
        return registry.open_registry(parts.host, "pull", workspace), parts.repository

    def blob(digest: str) -> bytes:
        client, repository = open_repository()
        return client.read_blob(repository, digest)

    def manifest(digest: str) -> bytes:
        client, repository = open_repository()
        return client.get_manifest(repository, digest).bytes

    return blob, manifest


def _cache_folder(workspace: Workspace) -> Path:
    return records.folder_of(workspace.root) / "images"


def _cache_path(workspace: Workspace, digest: str) -> Path:
    return _cache_folder(workspace) / f"{digest.replace(':', '-')}.json"
