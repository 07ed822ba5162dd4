"""Recognizes folders that hold only files git ignores, such as a change of branches leaves behind.

The ignore files are read here, and git is not started: every command reads the workspace, also where there is no git.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway._internal.model.files import MEGABYTE, read_bytes

TOOL_PATTERNS = "__pycache__/\n*.pyc\nnode_modules/\n.*_cache/\n.DS_Store\n"
"""What tools leave in every folder, whatever the ignore files say."""
_PATTERN_TOKENS = re.compile(
    r"(?P<below>\*\*/)|(?P<all>/\*\*\Z)|(?P<many>\*+)|(?P<one>\?)|(?P<of>\[!?\]?[^\]]*\])|\\?(?P<char>.)", re.DOTALL
)


@dataclass(frozen=True)
class GitignoreRule:
    """One line of an ignore file: the folder that it speaks of, and what it says of paths below it."""

    folder: Path
    pattern: re.Pattern[str]
    ignores: bool
    folders_only: bool

    def matches(self, path: Path, is_folder: bool) -> bool:
        """Whether the line is about a path."""
        if (self.folders_only and not is_folder) or not path.is_relative_to(self.folder):
            return False
        return self.pattern.fullmatch(path.relative_to(self.folder).as_posix()) is not None


def holds_only_ignored(root: Path, folder: Path) -> bool:
    """Whether all files below a folder of the workspace are ones that git ignores; a link never is."""
    if folder.is_symlink():
        return False
    rules = list(_inherited_rules(root, folder))
    if _is_ignored(root / "workspace.toml", False, rules) or _has_ignored_ancestor(root, rules):
        # Git knows nothing of the whole workspace, so what lies around it says nothing of its parts.
        rules = [rule for rule in rules if rule.folder.is_relative_to(root)]
    return _has_ignored_ancestor(folder, rules) or not any(_walk_unignored(folder, rules))


def is_ignored_file(root: Path, file: Path) -> bool:
    """Whether git ignores a file of the workspace."""
    rules = [*_inherited_rules(root, file.parent), *_read_rules(file.parent / ".gitignore", file.parent)]
    return _has_ignored_ancestor(file.parent, rules) or _is_ignored(file, False, rules)


def walk_unignored(folder: Path) -> Iterator[Path]:
    """Yield the files and links below a folder that git would not ignore, whatever it says of the folder itself."""
    yield from _walk_unignored(folder, list(_inherited_rules(folder, folder)))


def _walk_unignored(folder: Path, rules: Sequence[GitignoreRule]) -> Iterator[Path]:
    """Yield what git would not ignore: files, links, and folders that nobody can look into."""
    rules = [*rules, *_read_rules(folder / ".gitignore", folder)]
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError:
        yield folder
        return
    for entry in found:
        path, is_folder = folder / entry.name, entry.is_dir(follow_symlinks=False)
        if _is_ignored(path, is_folder, rules):
            continue
        if is_folder:
            yield from _walk_unignored(path, rules)
        else:
            yield path


def _has_ignored_ancestor(folder: Path, rules: Sequence[GitignoreRule]) -> bool:
    return any(_is_ignored(ancestor, True, rules) for ancestor in (folder, *folder.parents))


def _is_ignored(path: Path, is_folder: bool, rules: Sequence[GitignoreRule]) -> bool:
    return next((rule.ignores for rule in reversed(rules) if rule.matches(path, is_folder)), False)


def _inherited_rules(root: Path, folder: Path) -> Iterator[GitignoreRule]:
    """Yield the rules that hold in a folder, the weakest first: this user's, the repository's, each folder's."""
    top = next((ancestor for ancestor in (root, *root.parents) if os.path.lexists(ancestor / ".git")), root)
    user_ignore = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()) / "git" / "ignore"
    yield from _parse_rules(TOOL_PATTERNS, root)
    yield from _read_rules(user_ignore, top)
    yield from _read_rules(top / ".git" / "info" / "exclude", top)
    ancestors = [ancestor for ancestor in reversed(folder.parents) if ancestor.is_relative_to(top)]
    for ancestor in ancestors:
        yield from _read_rules(ancestor / ".gitignore", ancestor)


def _read_rules(file: Path, folder: Path) -> Iterator[GitignoreRule]:
    try:
        text = read_bytes(file, MEGABYTE).decode("utf-8", "surrogateescape")
    except (OSError, ValueError):
        return
    yield from _parse_rules(text, folder)


def _parse_rules(text: str, folder: Path) -> Iterator[GitignoreRule]:
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
            yield GitignoreRule(folder, re.compile(_to_regex(anchored), re.DOTALL), ignores, folders_only)
        except re.error:  # git takes such a line for one that matches nothing
            continue


def _to_regex(pattern: str) -> str:
    """Return a pattern of git's as a regular expression."""
    out = ""
    for part in _PATTERN_TOKENS.finditer(pattern):
        kind, text = part.lastgroup, part[0]
        if kind == "of":
            out += f"[{'^' if text[1] == '!' else ''}{text[1 + (text[1] == '!') : -1].replace(chr(92), chr(92) * 2)}]"
        else:
            out += {"below": "(?:.*/)?", "all": "/.*", "many": "[^/]*", "one": "[^/]"}.get(
                kind or "", re.escape(part["char"] or "")
            )
    return out
