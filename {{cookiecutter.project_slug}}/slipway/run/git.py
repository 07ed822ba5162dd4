"""The one door to git: which commit is checked out, whether anything differs from it, and who works here."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Sequence
from pathlib import Path

from slipway.model.errors import SlipwayError
from slipway.run.process import run

SECONDS = 20
_COMMIT = re.compile(r"^[0-9a-f]{40}(?:[0-9a-f]{24})?$", re.MULTILINE)


def commit(root: Path) -> str | None:
    """Return the commit that is checked out; None without git, outside a repository, or before its first commit.

    A folder that git ignores is in no commit, whatever repository lies around it.
    """
    if _said(root, "check-ignore", "."):
        return None
    found = _COMMIT.search(_said(root, "rev-parse", "--verify", "HEAD"))
    return found[0] if found else None


def dirty(root: Path, apart: Sequence[str] = ()) -> bool:
    """Whether files differ from that commit or are not in it, apart from some folders; ignored ones do not count.

    Where there is a commit, and git cannot say what differs from it, something may.
    """
    others = [f":(exclude){folder}" for folder in apart]
    said = _asked(root, "status", "--porcelain", "--untracked-files=normal", "--", ".", *others)
    return commit(root) is not None if said is None else bool(said)


def ignored(root: Path, folders: Sequence[str]) -> set[str]:
    """Return the files of some folders that are in no commit because git is told to ignore them, from `root`."""
    return set(
        _said(
            root, "-c", "core.quotePath=off", "ls-files", "--others", "--ignored", "--exclude-standard", "--", *folders
        ).splitlines()
    )


def user(root: Path) -> str:
    """Return who works here: the name that git knows, else the system's name of this process's user."""
    return (_said(root, "config", "user.name").splitlines() or [_system_user()])[-1]


def authors(root: Path, days: int) -> int:
    """Return how many people have committed to this folder in the last so many days; 0 where git does not say."""
    return len(set(_said(root, "log", f"--since={days}.days", "--format=%aE", "--", ".").splitlines()))


def _said(root: Path, *words: str) -> str:
    """Return what git says; nothing where there is no git, or it says no."""
    return _asked(root, *words) or ""


def _asked(root: Path, *words: str) -> str | None:
    """Return what git says; None where there is no git, or it says no."""
    try:
        result = run(["git", "-C", root, *words], timeout=SECONDS)
    except SlipwayError:
        return None
    return result.output.strip() if result.code == 0 else None


def _system_user() -> str:
    try:
        return os.environ.get("USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return str(os.getuid())
