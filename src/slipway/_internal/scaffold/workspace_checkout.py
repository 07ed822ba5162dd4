"""The workspace's own checkout in git: whether an update may begin, and what it changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.scratch import FOLDER_NAME as SCRATCH
from slipway._internal.run.git import find_commit_problem, run_git
from slipway._internal.scaffold.tree_store import Entry

SHOWN = 10
"""Files that a message names."""
SECONDS = 120.0
ALL_BUT_SCRATCH = (".", f":(exclude){SCRATCH}")
Sides = Mapping[int, Entry]
"""What the index holds of a path, by stage: 0, or 1 to 3 where it is in conflict."""


@dataclass(frozen=True)
class WorkspaceCheckout:
    """A workspace in git: its folder, the commit that is checked out, and the tree of the workspace in it."""

    root: Path
    prefix: str
    head: str
    tree: str
    objects: Path
    object_format: str

    def uncommitted_files(self) -> list[str]:
        """Return the workspace's files that differ from the commit, or are in none and not ignored."""
        said = self._git(
            "status", "--porcelain", "-z", "--no-renames", "--untracked-files=normal", "--", *ALL_BUT_SCRATCH
        )
        return [line[3:].removeprefix(self.prefix) for line in said.split("\0") if line]

    def require_clean(self) -> None:
        """Refuse a workspace with changes that are in no commit: an update could not be told from them, or undone.

        Raises:
            ConfigError: it names the files.
        """
        if files := self.uncommitted_files():
            more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
            raise ConfigError(
                f"uncommitted changes: {', '.join(files[:SHOWN])}{more}",
                remedy="Commit them: git add --all && git commit. Or put them away: git stash --include-untracked",
            )

    def conflicted_files(self) -> list[str]:
        """Return the workspace's files that the index holds in conflict."""
        return sorted({line.partition("\t")[2] for line in self._records_of("ls-files", "-z", "--unmerged")})

    def unwatched_files(self) -> set[str]:
        """Return the files whose changes git was told not to look for: it tells nobody that they differ."""
        flagged = (line.split(" ", 1) for line in self._records_of("ls-files", "-z", "-v"))
        return {path for mark, path in flagged if mark == "S" or mark.islower()}

    def set_index(self, paths: Mapping[str, Sides]) -> None:
        """Give paths new content in the index, all at once: whoever kills this leaves the old index or the new one."""
        none = "0" * len(self.head)
        lines = []
        for path, sides in paths.items():
            lines.append(f"0 {none}\t{self.prefix}{path}")
            lines += [f"{side.mode} {side.oid} {stage}\t{self.prefix}{path}" for stage, side in sorted(sides.items())]
        self._git("update-index", "-z", "--index-info", stdin=_records(lines))

    def refresh_index(self, index: Mapping[str, str] | None = None) -> None:
        """Have an index know the files' times, so that git need not read them again."""
        run_git(self.root, "update-index", "-q", "--refresh", env=index, timeout=SECONDS)

    def write_files(self, tree: str, paths: Iterable[str], folder: Path) -> Path:
        """Write files of a workspace's tree, as git writes them into this checkout, and return the folder they are in.

        Args:
            tree: the workspace's tree.
            paths: its files.
            folder: an empty folder outside git.
        """
        index = self._index_of(tree, folder)
        self._git("checkout-index", f"--prefix={folder}/", "-z", "--stdin", env=index, stdin=_records(paths))
        return folder / self.prefix

    def differing_files(self, tree: str, folder: Path) -> set[str]:
        """Return the files of a workspace's tree that are not in the checkout as they are there.

        Args:
            tree: the workspace's tree.
            folder: a folder for git's own files.
        """
        index = self._index_of(tree, folder)
        self.refresh_index(index)
        said = self._git("diff-files", "--name-only", "-z", env=index)
        return {path.removeprefix(self.prefix) for path in said.split("\0") if path}

    def _index_of(self, tree: str, folder: Path) -> dict[str, str]:
        """Make an index that holds a workspace's tree alone, and return the variable that names it."""
        index = {"GIT_INDEX_FILE": str(folder / f"{tree}.index")}
        below = [f"--prefix={self.prefix}"] if self.prefix else []
        self._git("read-tree", *below, tree, env=index)
        return index

    def _records_of(self, *words: str) -> list[str]:
        return self._git(*words).split("\0")[:-1]

    def _git(self, *words: str, env: Mapping[str, str] | None = None, stdin: str | None = None) -> str:
        result = run_git(self.root, *words, env=env, stdin=stdin, timeout=SECONDS)
        if result.code:
            raise SlipwayError(
                f"`git {words[0]}` failed", detail=result.errors, remedy="Run `git status`, and fix what it reports."
            )
        return result.output


def open_checkout(root: Path) -> WorkspaceCheckout:
    """Return a workspace's checkout.

    Raises:
        ConfigError: the workspace is in no git repository, or in no commit of it; or git is missing.
    """
    if shutil.which("git") is None:
        raise ConfigError(
            "git is not installed, so an update could not be undone", remedy="Install git, then try again."
        )
    remedy = f'Put it into git first: cd {root} && git init && git add . && git commit -m "Generated".'
    said = _ask(root, "rev-parse", "--show-prefix", "--show-object-format", "--git-path", "objects")
    if said is None:
        if problem := find_commit_problem(root):
            raise ConfigError(problem.message, remedy=problem.remedy)
        raise ConfigError(f"{root} is not in a git repository, so an update could not be undone", remedy=remedy)
    prefix, object_format, objects = said.split("\n")[:3]
    tree = _ask(root, "rev-parse", "--verify", "--quiet", f"HEAD:{prefix}")
    head = _ask(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if not tree or not head:
        raise ConfigError(f"no commit has the workspace {root}, so an update could not be undone", remedy=remedy)
    return WorkspaceCheckout(root, prefix, head.strip(), tree.strip(), (root / objects).resolve(), object_format)


def _ask(root: Path, *words: str) -> str | None:
    result = run_git(root, *words)
    return result.output if result.code == 0 else None


def _records(lines: Iterable[str]) -> str:
    return "".join(f"{line}\0" for line in lines)
