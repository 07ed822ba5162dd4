"""Commands for crane, which carries images to and between registries without changing a byte."""

from __future__ import annotations

from pathlib import Path

from slipway.model.names import LOOPBACK


def push(crane: Path, layout: Path, ref: str) -> list[str]:
    """Return the command that pushes an OCI layout (a folder) or an image archive under a name with a tag."""
    return [str(crane), "push", str(layout), ref, *_insecure(ref)]


def copy(crane: Path, source: str, target: str) -> list[str]:
    """Return the command that copies an image as it is, all platforms of it."""
    return [str(crane), "copy", source, target, *_insecure(source, target)]


def _insecure(*refs: str) -> list[str]:
    return ["--insecure"] if any(LOOPBACK.match(ref) for ref in refs) else []
