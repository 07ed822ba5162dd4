"""Copies a folder's own files: what git ignores, git's folder and installed packages stay behind."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.gitignore import walk_unignored

LEFT_OUT = frozenset({".git", ".hg", ".svn", "node_modules", ".venv", "__pycache__", ".DS_Store"})
"""What is never copied, whatever the ignore files say."""


def list_files(folder: Path, without: Collection[Path] = ()) -> list[str]:
    """Return the paths of the files and links below a folder that would be copied.

    Args:
        folder: where they are.
        without: files that are left out, too.

    Raises:
        ConfigError: a link leads out of the folder, or something is neither a file nor a link.
    """
    found = []
    for path in walk_unignored(folder):
        name = path.relative_to(folder)
        if LEFT_OUT.intersection(name.parts) or path in without:
            continue
        _check(folder, path)
        found.append(str(name))
    return sorted(found)


def _check(folder: Path, path: Path) -> None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(path)  # noqa: PTH115 - as it stands
        if Path(target).is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"{path} is a link to {target}, out of the folder that is adopted",
                remedy="Put a copy in its place, or make it a relative link to a file in the folder.",
            )
    elif stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{path} cannot be read", remedy="Make it readable, or list it in .gitignore.")
    elif not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path} is neither a file nor a folder", remedy="Remove it, or list it in .gitignore.")


def copy_files(folder: Path, names: Collection[str], into: Path) -> None:
    """Copy files and links to a new folder; modes stay."""
    for name in names:
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(folder / name, target, follow_symlinks=False)


def remove_files(folder: Path, names: Collection[str]) -> None:
    """Remove files that were copied, and the folders that are empty then."""
    for name in names:
        (folder / name).unlink()
    for parent in sorted({parent for name in names for parent in _parents(folder, name)}, reverse=True):
        if not any(parent.iterdir()):
            parent.rmdir()


def _parents(folder: Path, name: str) -> Iterator[Path]:
    for parent in Path(name).parents:
        yield folder / parent
