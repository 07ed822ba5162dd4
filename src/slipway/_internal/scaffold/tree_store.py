"""Trees of files in git's object store, and the three-way merge of them, without a working tree or a commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run.git import run_git

MERGE_VERSION = (2, 38)
"""The first git that merges trees without a working tree."""
FILE = "100644"
ABSENT = "0"
SECONDS = 120.0
_ONLY_ITS_OWN = {
    "core.autocrlf": "false",
    "core.safecrlf": "false",
    "core.fileMode": "true",
    "core.symlinks": "true",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.hooksPath": "/dev/null",
    "merge.directoryRenames": "false",
    "merge.renames": "true",
}
"""Settings of whoever works here that may not decide what a file holds, or where it goes."""
_AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in {"NAME": "Slipway", "EMAIL": "slipway@localhost", "DATE": "@0 +0000"}.items()
}


@dataclass(frozen=True)
class Entry:
    """A file in a tree: git's mode, and the object that holds its bytes."""

    mode: str
    oid: str


@dataclass(frozen=True)
class Conflict:
    """Why git could not merge: its word for it (`contents`, `modify/delete`, …), the paths, its own sentence."""

    kind: str
    paths: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class MergeResult:
    """A merge's result: the tree, the sides of each path in conflict by stage (1 base, 2 ours, 3 theirs), and why."""

    tree: str
    stages: Mapping[str, Mapping[int, Entry]] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()

    def without_conflicts(self, paths: Iterable[str], tree: str) -> MergeResult:
        """Return a result with another tree, in which some paths are in conflict no more."""
        stages = {path: sides for path, sides in self.stages.items() if path not in {*paths}}
        left = tuple(conflict for conflict in self.conflicts if any(path in stages for path in conflict.paths))
        return MergeResult(tree, stages, left)


class TreeStore:
    """A bare repository for scratch trees, which reads the objects of the workspace's own.

    Args:
        folder: where it is made.
        objects: the folder of the workspace's objects.
        object_format: sha1 or sha256, as the workspace's repository.
        keep: write new objects among the workspace's, where its index may name them; else nothing is written there.
    """

    def __init__(self, folder: Path, objects: Path, object_format: str, *, keep: bool) -> None:
        self._folder = folder
        self._count = 0
        folder.mkdir(parents=True)
        self._env = {"GIT_DIR": str(folder / "merge.git"), **_AUTHOR}
        self._git("init", "--bare", "--quiet", "--template=", f"--object-format={object_format}")
        if keep:
            self._env["GIT_OBJECT_DIRECTORY"] = str(objects)
        else:
            (folder / "merge.git" / "objects" / "info").mkdir(exist_ok=True)
            (folder / "merge.git" / "objects" / "info" / "alternates").write_text(f"{objects}\n", encoding="utf-8")

    def tree_of(self, files: Path) -> str:
        """Return the tree of a folder's files; what its own .gitignore names is left out."""
        env = {**self._index(), "GIT_WORK_TREE": str(files)}
        self._git("add", "--all", "--", ".", env=env)
        return self._git("write-tree", env=env).strip()

    def entries(self, tree: str) -> dict[str, Entry]:
        """Return the files of a tree by path."""
        found = {}
        for line in _records(self._git("ls-tree", "-r", "-z", "--full-tree", tree)):
            about, _, path = line.partition("\t")
            mode, _, oid = about.split()
            found[path] = Entry(mode, oid)
        return found

    def below(self, tree: str, folder: str) -> str | None:
        """Return the tree of one of a tree's folders; None where there is no such folder."""
        for line in _records(self._git("ls-tree", "-z", "-d", tree, "--", folder)):
            return line.partition("\t")[0].split()[2]
        return None

    def text(self, oid: str) -> str:
        """Return the text that an object holds."""
        return self._git("cat-file", "blob", oid)

    def write_text(self, text: str) -> Entry:
        """Return an ordinary file that holds a text."""
        return Entry(FILE, self._git("hash-object", "-w", "--stdin", stdin=text).strip())

    def edit(self, tree: str, *, remove: Iterable[str] = (), put: Mapping[str, Entry] | None = None) -> str:
        """Return a tree without some files, and with others in it or in the place of its own."""
        lines = [f"{ABSENT} {'0' * len(tree)}\t{path}" for path in remove]
        lines += [f"{entry.mode} {entry.oid} 0\t{path}" for path, entry in (put or {}).items()]
        if not lines:
            return tree
        env = self._index()
        self._git("read-tree", tree, env=env)
        self._git("update-index", "-z", "--index-info", env=env, stdin="".join(f"{line}\0" for line in lines))
        return self._git("write-tree", env=env).strip()

    def changed(self, before: str, after: str) -> dict[str, tuple[Entry | None, Entry | None]]:
        """Return each path in which two trees differ, with what is there before and after; None is nothing."""
        found: dict[str, tuple[Entry | None, Entry | None]] = {}
        said = _records(self._git("diff-tree", "-r", "-z", "--no-renames", "--raw", before, after))
        for about, path in zip(said[::2], said[1::2], strict=True):
            old_mode, new_mode, old, new, _ = about.removeprefix(":").split()
            found[path] = (
                Entry(old_mode, old) if old_mode.strip("0") else None,
                Entry(new_mode, new) if new_mode.strip("0") else None,
            )
        return found

    def difference(self, before: str, after: str) -> str:
        """Return two trees' difference as a patch."""
        return self._git("diff-tree", "-r", "-p", "--full-index", "--binary", before, after)

    def merge(self, base: str, ours: str, theirs: str, *, label: str) -> MergeResult:
        """Return the three-way merge of trees; `label` is what conflict markers call theirs.

        Raises:
            SlipwayError: git is too old, or failed.
        """
        self._require_merge()
        common = self._commit(base)
        names = {"yours": self._commit(ours, common), label: self._commit(theirs, common)}
        for name, commit in names.items():
            self._git("update-ref", f"refs/heads/{name}", commit)
        command = ("merge-tree", "--write-tree", "-z", "--messages", *names)
        result = run_git(self._folder, *_settings(), *command, env=self._env, timeout=SECONDS)
        if result.code not in (0, 1):
            raise SlipwayError("git could not merge", detail=result.errors, remedy="Read what git says above.")
        return parse_merge(result.output)

    def _require_merge(self) -> None:
        said = self._git("version").split()[2]
        version = tuple(int(part) for part in said.split(".")[:2] if part.isdigit())
        if version < MERGE_VERSION:
            least = ".".join(map(str, MERGE_VERSION))
            raise SlipwayError(
                f"git {said} cannot merge outside the working tree", remedy=f"Install git {least} or newer."
            )

    def _commit(self, tree: str, *parents: str) -> str:
        above = [word for parent in parents for word in ("-p", parent)]
        return self._git("commit-tree", tree, *above, stdin="").strip()

    def _index(self) -> dict[str, str]:
        self._count += 1
        return {"GIT_INDEX_FILE": str(self._folder / f"index-{self._count}")}

    def _git(self, *words: str, env: Mapping[str, str] | None = None, stdin: str | None = None) -> str:
        where = Path((env or {}).get("GIT_WORK_TREE", self._folder))
        result = run_git(where, *_settings(), *words, env={**self._env, **(env or {})}, stdin=stdin, timeout=SECONDS)
        if result.code:
            raise SlipwayError(
                f"`git {words[0]}` failed",
                detail=result.errors,
                remedy="Check whether the repository is damaged: git fsck",
            )
        return result.output


def parse_merge(said: str) -> MergeResult:
    """Return what `git merge-tree -z --messages` says: the tree, paths in conflict, a blank, and messages."""
    parts = iter(said.split("\0"))
    tree = next(parts)
    stages: dict[str, dict[int, Entry]] = {}
    for part in parts:
        if not part:
            break
        about, _, path = part.partition("\t")
        mode, oid, stage = about.split()
        stages.setdefault(path, {})[int(stage)] = Entry(mode, oid)
    conflicts = []
    for number in parts:
        if not number.strip():
            break
        paths = tuple(next(parts) for _ in range(int(number)))
        kind, text = next(parts), next(parts).strip()
        if kind.startswith("CONFLICT"):
            conflicts.append(Conflict(kind.partition("(")[2].rstrip(")"), paths, text))
    return MergeResult(tree, stages, tuple(conflicts))


def _records(said: str) -> list[str]:
    return said.split("\0")[:-1]


def _settings() -> list[str]:
    return [word for name, value in _ONLY_ITS_OWN.items() for word in ("-c", f"{name}={value}")]
