"""The fast path of `invoke build` when nothing has changed: it only stats files and imports next to nothing."""

from __future__ import annotations

from pathlib import Path

from slipway._internal.content import build_state
from slipway._internal.content.build_state import BuiltImage

__all__ = ["BuiltImage", "find_unchanged"]


def find_unchanged(root: Path, chosen: str | None) -> dict[str, BuiltImage] | None:
    """Return the image of each chosen service where no file that decides one has changed since they were looked for.

    Args:
        root: the workspace's.
        chosen: services' names with commas between them; None for all.

    Returns:
        None where something may have changed, or a name is not known: then the workspace has to be read.
    """
    images = build_state.unchanged_images(root)
    names = [name.strip() for name in chosen.split(",")] if chosen else list(images or ())
    if images is None or not set(names) <= set(images):
        return None
    return {name: images[name] for name in names}
