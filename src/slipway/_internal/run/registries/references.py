"""Image references, taken apart as Docker does."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slipway._internal.model.errors import ConfigError
from slipway._internal.run.credentials import HUB

CREATED_ANNOTATION = "org.opencontainers.image.created"
"""What a manifest says of when its image, or what is attached to one, was made."""
DIGEST_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")
FALLBACK_TAG_PATTERN = re.compile(r"sha256-([0-9a-f]{64})(?:\..+)?")
"""The tag under which a registry without the referrers API has what refers to a digest; a suffix is old cosign's."""

_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*")


@dataclass(frozen=True)
class ImageReference:
    """An image's name, taken apart: `host[:port]`, the repository there, and a tag or a digest."""

    host: str
    repository: str
    reference: str


def parse_reference(ref: str) -> ImageReference:
    """Return an image reference's parts, filled up as Docker does: Docker Hub, `library/`, `latest`.

    Raises:
        ConfigError: it is not an image reference.
    """
    name, _, digest = ref.partition("@")
    first, slash, rest = name.partition("/")
    is_host = bool(slash) and (first == "localhost" or bool({".", ":"} & set(first)))
    host, path = (first, rest) if is_host else (HUB, name)
    path, colon, tag = path.rpartition(":") if ":" in path else (path, "", "")
    if host == HUB and "/" not in path:
        path = f"library/{path}"
    reference = digest or tag or "latest"
    if not _PATH.fullmatch(path) or (colon and not tag) or ("@" in ref and not digest):
        raise ConfigError(f"{ref!r} names no image", remedy="Write host/repository:tag or host/repository@sha256:…")
    return ImageReference(host, path, reference)


def fallback_tag(digest: str) -> str:
    """Return the tag that lists what refers to a digest where the registry has no referrers API."""
    return digest.replace(":", "-", 1)
