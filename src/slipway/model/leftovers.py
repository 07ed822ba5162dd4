"""Tells a folder that a change of branches has left, with nothing in it but what git ignores, from one that counts.

The ignore files are read here, and git is not started: every command reads the workspace, also where there is no git.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.model.files import MEGABYTE, read_bytes

TOOLS = "__pycache__/\n*.pyc\nnode_modules/\n.*_cache/\n.DS_Store\n"
"""What tools leave in every folder, whatever the ignore files say."""
_PARTS = re.compile(
    r"(?P<below>\*\*/)|(?P<all>/\*\*\Z)|(?P<many>\*+)|(?P<one>\?)|(?P<of>\[!?\]?[^\]]*\])|\\?(?P<char>.)", re.DOTALL
)


@dataclass(frozen=True)
class Rule:
    """One line of an ignore file: the folder that it speaks of, and what it says of paths below it."""

    folder: Path
    pattern: re.Pattern[str]
    ignores: bool
    folders_only: bool

    def speaks_of(self, path: Path, is_folder: bool) -> bool:
        """Whether the line is about a path."""
        if (self.folders_only and not is_folder) or not path.is_relative_to(self.folder):
            return False
        return self.pattern.fullmatch(path.relative_to(self.folder).as_posix()) is not None


def is_left_over(root: Path, folder: Path) -> bool:
    """Whether all files below a folder of the workspace are ones that git ignores; a link never is."""
    if folder.is_symlink():
        return False
    rules = list(_rules_above(root, folder))
    if _ignored(root / "workspace.toml", False, rules) or _below_ignored(root, rules):
        # Git knows nothing of the whole workspace, so what lies around it says nothing of its parts.
        rules = [rule for rule in rules if rule.folder.is_relative_to(root)]
    return _below_ignored(folder, rules) or not any(_counting(folder, rules))


def _counting(folder: Path, rules: Sequence[Rule]) -> Iterator[Path]:
    """Yield what git would not ignore: files, links, and folders that nobody can look into."""
    rules = [*rules, *_read(folder / ".gitignore", folder)]
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError:
        yield folder
        return
    for each in found:
        path, is_folder = folder / each.name, each.is_dir(follow_symlinks=False)
        if _ignored(path, is_folder, rules):
            continue
        if is_folder:
            yield from _counting(path, rules)
        else:
            yield path


def _below_ignored(folder: Path, rules: Sequence[Rule]) -> bool:
    return any(_ignored(each, True, rules) for each in (folder, *folder.parents))


def _ignored(path: Path, is_folder: bool, rules: Sequence[Rule]) -> bool:
    return next((rule.ignores for rule in reversed(rules) if rule.speaks_of(path, is_folder)), False)


def _rules_above(root: Path, folder: Path) -> Iterator[Rule]:
    """Yield the rules that hold in a folder, the weakest first: this user's, the repository's, each folder's."""
    top = next((each for each in (root, *root.parents) if os.path.lexists(each / ".git")), root)
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()) / "git" / "ignore"
    yield from _parse(TOOLS, root)
    yield from _read(own, top)
    yield from _read(top / ".git" / "info" / "exclude", top)
    above = [each for each in reversed(folder.parents) if each.is_relative_to(top)]
    for each in above:
        yield from _read(each / ".gitignore", each)


def _read(file: Path, folder: Path) -> Iterator[Rule]:
    try:
        text = read_bytes(file, MEGABYTE).decode("utf-8", "surrogateescape")
    except (OSError, ValueError):
        return
    yield from _parse(text, folder)


def _parse(text: str, folder: Path) -> Iterator[Rule]:
    for line in text.splitlines():
        pattern = re.sub(r"(?<!\\) +$", "", line)
        ignores = not pattern.startswith("!")
        pattern = pattern[not ignores :]
        folders_only = pattern.endswith("/")
        pattern = pattern.rstrip("/")
        if not pattern or pattern.startswith("#"):
            continue
        anchored = pattern.lstrip("/") if "/" in pattern else f"**/{pattern}"
        try:
            yield Rule(folder, re.compile(_expression(anchored), re.DOTALL), ignores, folders_only)
        except re.error:  # git takes such a line for one that matches nothing
            continue


def _expression(pattern: str) -> str:
    """Return a pattern of git's as a regular expression."""
    out = ""
    for part in _PARTS.finditer(pattern):
        kind, text = part.lastgroup, part[0]
        if kind == "of":
            out += f"[{'^' if text[1] == '!' else ''}{text[1 + (text[1] == '!') : -1].replace(chr(92), chr(92) * 2)}]"
        else:
            out += {"below": "(?:.*/)?", "all": "/.*", "many": "[^/]*", "one": "[^/]"}.get(
                kind or "", re.escape(part["char"] or "")
            )
    return out
