"""Commands for crane, which carries images to and between registries without changing a byte.

`plain` says that a registry of this machine was found to speak plain HTTP. Only then may crane do so too: its
`--insecure` also takes any certificate, so a registry that speaks TLS never gets it.
"""

from __future__ import annotations

from pathlib import Path


def push(crane: Path, layout: Path, ref: str, *, plain: bool = False) -> list[str]:
    """Return the command that pushes an OCI layout's one image under a name with a tag or its digest."""
    return [str(crane), "push", str(layout), ref, *_insecure_flags(plain)]


def pull(crane: Path, ref: str, layout: Path, *, plain: bool = False) -> list[str]:
    """Return the command that fetches an image as it is, all platforms of it, into a new OCI layout."""
    return [str(crane), "pull", "--format", "oci", ref, str(layout), *_insecure_flags(plain)]


def _insecure_flags(plain: bool) -> list[str]:
    return ["--insecure"] if plain else []
