"""Which frontend reads a Dockerfile: the builder's own, a later version of it, or the image that `# syntax=` names.

BuildKit takes a frontend that is named from a registry, Docker Hub for `docker/dockerfile`, even where it has the same
one built in. A line that asks for no newer one than that is therefore taken out of what the builder gets: it needs no
registry, and the builder's version, which is pinned, decides. A later `docker/dockerfile` is served from the
workspace's registry, where `build.frontends` puts it. Another image has to be pinned by digest (`pinning`).
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
from slipway._internal.model.errors import EvidenceError
from slipway._internal.model.files import PRIVATE_MODE, write_atomically

OWN_VERSION = (1, 28)
"""The Dockerfile syntax that every builder which Slipway takes has built in: BuildKit 0.34 and later (tools.toml).

Since 1.27 the stable channel has all that `labs` has, and long since all of `experimental`, as `labs` was called once.
"""
FRONTEND_ARGUMENT = "BUILDKIT_SYNTAX"
"""The build argument by which BuildKit takes another frontend than a Dockerfile names."""
LOCK_PREFIX = "dockerfile-"
"""What the names of later frontends begin with in the bases' lock."""
FOLDER = "dockerfiles"
_OFFICIAL = re.compile(
    r"(?:(?:index\.)?docker\.io/)?docker/dockerfile(?::(?:latest|labs|experimental"
    r"|(?P<major>[0-9]{1,4})(?:\.(?P<minor>[0-9]{1,4})(?:\.(?P<patch>[0-9]{1,4}))?)?(?:-(?P<channel>labs|experimental))?))?"
)
_PINNED_REFERENCE = re.compile(r"@sha256:[0-9a-f]{64}\Z")


def is_builders_own(syntax: str) -> bool:
    """Say whether a `# syntax=` line asks for a frontend that the builder has: of any channel, but no later version.

    `docker/dockerfile:1` is any version of 1. One by digest is the image that it names.
    """
    found = _OFFICIAL.fullmatch(syntax)
    if found is None:
        return False
    if found["major"] is None:
        return True
    return int(found["major"]) == OWN_VERSION[0] and int(found["minor"] or 0) <= OWN_VERSION[1]


def served_version(syntax: str) -> str:
    """Return which `docker/dockerfile` a line asks for that is later than the builder's own; empty for all others.

    It is whole, so the same everywhere: `1.99` is `1.99.0`, and `1.99-labs` is `1.99.0-labs`.
    """
    found = _OFFICIAL.fullmatch(syntax)
    if found is None or not found["minor"] or int(found["major"]) != OWN_VERSION[0]:
        return ""
    if int(found["minor"]) <= OWN_VERSION[1] or found["channel"] == "experimental":
        return ""
    version = f"{OWN_VERSION[0]}.{int(found['minor'])}.{int(found['patch'] or 0)}"
    return f"{version}-{found['channel']}" if found["channel"] else version


def lock_name(version: str) -> str:
    """Return what the image of a later frontend is called in the bases' lock."""
    return f"{LOCK_PREFIX}{version}"


def require_served(dockerfile: Dockerfile, image: str) -> None:
    """Make sure that what is built has the frontend that its Dockerfile asks for.

    Args:
        dockerfile: as it was read.
        image: what the bases' lock has for it; empty for nothing.

    Raises:
        EvidenceError: it asks for a later one than the builder's own, and the lock names none by digest.
    """
    version = served_version(dockerfile.syntax)
    if version and not _PINNED_REFERENCE.search(image):
        raise EvidenceError(
            f"{dockerfile.path}: the line `syntax={dockerfile.syntax}` asks for Dockerfile {version}, which "
            f"bases/bases.lock.json does not name by digest ({lock_name(version)})",
            remedy="Run `invoke setup`, which builds it.",
        )


def own_version() -> str:
    """Return the Dockerfile syntax of the builder's own frontend, as people write it."""
    return ".".join(map(str, OWN_VERSION))


def frontend_identity(dockerfile: Dockerfile) -> str:
    """Return what the content digest counts of a `docker/dockerfile`: its version, not its bytes; nothing for others.

    Both are made of sources that a pin or Go's checksum database vouches for. The compiler, which makes the bytes
    differ, decides no image.
    """
    version = own_version() if is_builders_own(dockerfile.syntax) else served_version(dockerfile.syntax)
    return f"docker/dockerfile {version}" if version else ""


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
