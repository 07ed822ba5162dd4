"""Which frontend reads a Dockerfile: the builder's own, or the image that its `# syntax=` line names.

BuildKit takes a frontend that is named from a registry, Docker Hub for `docker/dockerfile`, even where it has the same
one built in. A line that asks for no newer one than that is therefore taken out of what the builder gets: it needs no
registry, and the builder's version, which is pinned, decides. Another image has to be pinned by digest (`pinning`).
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from slipway._internal.content.context_paths import read_inside
from slipway._internal.content.dockerfile import Dockerfile
from slipway._internal.content.dockerfile_parser import parse_directive
from slipway._internal.content.dockerignore import FILE_NAME as IGNORE_FILE
from slipway._internal.model.files import PRIVATE_MODE, write_atomically

OWN_VERSION = (1, 20)
"""The Dockerfile syntax that every builder which Slipway takes has built in: BuildKit 0.26 and later (tools.toml)."""
FOLDER = "dockerfiles"
_OFFICIAL = re.compile(
    r"(?:(?:index\.)?docker\.io/)?docker/dockerfile(?::(?:latest|(?P<major>[0-9]+)(?:\.(?P<minor>[0-9]+)(?:\.[0-9]+)?)?))?"
)


def is_builders_own(syntax: str) -> bool:
    """Say whether a `# syntax=` line asks for a frontend that the builder has: the stable one, not of a later version.

    `docker/dockerfile:1` is any version of 1. One of the channel `labs`, or by digest, is the image that it names.
    """
    found = _OFFICIAL.fullmatch(syntax)
    if found is None:
        return False
    if found["major"] is None:
        return True
    return int(found["major"]) == OWN_VERSION[0] and int(found["minor"] or 0) <= OWN_VERSION[1]


def own_version() -> str:
    """Return the Dockerfile syntax of the builder's own frontend, as people write it."""
    return ".".join(map(str, OWN_VERSION))


def frontend_identity(dockerfile: Dockerfile) -> str:
    """Return what the content digest counts of a frontend that the builder's own stands in for; nothing for others."""
    return f"docker/dockerfile {own_version()}" if is_builders_own(dockerfile.syntax) else ""


def without_syntax_line(text: bytes) -> bytes:
    """Return a Dockerfile without its `# syntax=` line; the number of each instruction's line stays."""
    lines = text.removeprefix(b"\xef\xbb\xbf").decode("latin-1").split("\n")
    first = int(lines[0].startswith("#!"))
    end = next((at for at, line in enumerate(lines) if at >= first and not parse_directive(line)[0]), len(lines))
    kept = [line for line in lines[first:end] if parse_directive(line)[0] != "syntax"]
    comments = ["#"] * (end - first - len(kept))
    return "\n".join([*lines[:first], *kept, *comments, *lines[end:]]).encode("latin-1")


def built_dockerfile(dockerfile: Dockerfile, scratch: Path) -> Path:
    """Return the Dockerfile that the builder gets: the file itself, or a copy without its `# syntax=` line.

    The copy has the Dockerfile's own ignore file beside it, as BuildKit looks for it there.

    Args:
        dockerfile: as it was read.
        scratch: the workspace's .slipway.

    Raises:
        ConfigError: the ignore file cannot be read.
        WriteError: the copy cannot be written.
    """
    if not is_builders_own(dockerfile.syntax):
        return dockerfile.path
    key = hashlib.sha256(os.fsencode(os.path.relpath(dockerfile.path, scratch))).hexdigest()
    folder = scratch / FOLDER / key[:12]  # the same in every clone
    copy = folder / dockerfile.path.name
    write_atomically(copy, without_syntax_line(dockerfile.text), mode=PRIVATE_MODE)
    ignore_name = f"{dockerfile.path.name}{IGNORE_FILE}"
    rules = read_inside(dockerfile.path.parent, ignore_name)
    if rules is None:
        (folder / ignore_name).unlink(missing_ok=True)
    else:
        write_atomically(folder / ignore_name, rules, mode=PRIVATE_MODE)
    return copy
