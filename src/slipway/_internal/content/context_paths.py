"""Reads one file of a context as BuildKit does: links are followed within the context, never out of it."""

from __future__ import annotations

from pathlib import Path

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.files import MEGABYTE, read_bytes

MAX_LINKS = 255
MAX_FILE_BYTES = 10 * MEGABYTE
"""Bytes of the longest Dockerfile or .dockerignore."""


def read_inside(root: Path, name: str) -> bytes | None:
    """Return a file's bytes, or None where there is no such file for BuildKit.

    Args:
        root: the folder that BuildKit is sent.
        name: the file's name in it. A link is followed, with root as the top of the tree.

    Raises:
        ConfigError: the file is there but cannot be read.
    """
    path = resolve_inside(root, name)
    try:
        return read_bytes(path, MAX_FILE_BYTES) if path else None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise unreadable_error(path or root / name, error) from error


def resolve_inside(root: Path, name: str) -> Path | None:
    """Return where a path leads when links are followed with root as the top of the tree; None in a loop."""
    done: list[str] = []
    todo, links = name.split("/")[::-1], 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        try:
            target = str(root.joinpath(*done, part).readlink())
        except OSError:  # no link, or nothing at all: then reading it will say so
            done.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            return None
        if target.startswith("/"):
            done = []
        todo += target.split("/")[::-1]
    return root.joinpath(*done)


def unreadable_error(path: Path | str, error: OSError) -> ConfigError:
    """Return the error for a file that cannot be read: BuildKit would silently send it empty."""
    return ConfigError(
        f"cannot read {path}: {error.strerror}",
        remedy="Make it readable, or list it in .dockerignore if the image does not need it.",
    )
