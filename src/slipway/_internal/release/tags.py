"""Finds an image's tags in its repository by its digest."""

from __future__ import annotations

from slipway._internal.model.workspace import Workspace
from slipway._internal.run import registry


def find_tags(ref: str, workspace: Workspace) -> list[str]:
    """Return the tags of an image given by digest, without those that hold evidence.

    Raises:
        SlipwayError: the registry does not answer, or refuses.
    """
    reference = registry.parse_reference(ref)
    repository = ref.partition("@")[0]
    tags = registry.open_registry(reference.host, "pull", workspace).list_tags(reference.repository)
    tag_by_ref = {f"{repository}:{tag}": tag for tag in tags if not registry.FALLBACK_TAG_PATTERN.fullmatch(tag)}
    return [
        tag_by_ref[name]
        for name, digest in registry.resolve_digests(tag_by_ref, workspace).items()
        if digest == reference.reference
    ]
