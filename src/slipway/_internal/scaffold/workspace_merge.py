"""The three-way merge of a workspace: what an old and a new template give, and what the team has made of it.

Some files are no business of git's merge: services that the template does not know, the engine, folders that the team
deleted. They are set aside before it and put in their place after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import PurePosixPath

from slipway._internal.scaffold import template_record
from slipway._internal.scaffold.tree_store import Conflict, Entry, MergeResult, TreeStore

WHEELS = "vendor/slipway_workspace-*.whl"
ENGINE = "slipway"
"""Where workspaces of earlier templates hold the engine's sources."""
SERVICES = "services/"
Files = Mapping[str, Entry]
_UNTOLD = "\ufffd"
"""Stands in a path for bytes that are not UTF-8: git knows the file, and no text names it."""


@dataclass(frozen=True)
class MergeSides:
    """The three sides of a merge: what the old template gives, what the team has, what the new template gives."""

    base: str
    ours: str
    theirs: str


@dataclass
class MergeExclusions:
    """What the merge is not given.

    `removed` are paths that no side has in the merge; `untaken` those that only the new template has and that are left
    out; `put` is what stands in the result afterwards; `notes` says what a user should know of it.
    """

    removed: set[str] = field(default_factory=set)
    untaken: set[str] = field(default_factory=set)
    put: dict[str, Entry] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def leave(self, paths: Iterable[str], ours: Files) -> None:
        """Keep the team's files as they are, whatever the template has."""
        for path in paths:
            self.removed.add(path)
            if path in ours and _UNTOLD not in path:
                self.put[path] = ours[path]


def merge_workspace(
    store: TreeStore, trees: MergeSides, *, skip: Sequence[str], label: str
) -> tuple[MergeResult, list[str]]:
    """Return the merge of a workspace, and what a user should know of it besides the conflicts.

    Args:
        store: holds the trees.
        trees: the three sides.
        skip: paths or patterns that no update touches.
        label: what conflict markers call the new template's side.
    """
    base, ours, theirs = (store.entries(tree) for tree in (trees.base, trees.ours, trees.theirs))
    exclusions = exclude_from_merge(base, ours, theirs, skip)
    merged = store.merge(
        store.edit(trees.base, remove=exclusions.removed & base.keys()),
        store.edit(trees.ours, remove=exclusions.removed & ours.keys()),
        store.edit(trees.theirs, remove=(exclusions.removed | exclusions.untaken) & theirs.keys()),
        label=label,
    )
    merged, notes = keep_team_deletions(merged, store)
    return replace(merged, tree=store.edit(merged.tree, put=exclusions.put)), [*exclusions.notes, *notes]


def exclude_from_merge(base: Files, ours: Files, theirs: Files, skip: Sequence[str]) -> MergeExclusions:
    """Return what git's merge is not given: see `Aside`."""
    exclusions = MergeExclusions()
    every = {*base, *ours, *theirs}
    exclusions.removed.add(template_record.NAME)
    exclusions.leave((path for path in every if _is_skipped(path, skip)), ours)
    _leave_own_services(exclusions, base, ours, theirs)
    _replace_engine(exclusions, base, ours, theirs)
    _leave_out_deleted_folders(exclusions, base, ours, theirs)
    return exclusions


def _is_skipped(path: str, skip: Sequence[str]) -> bool:
    above = {path, *(str(folder) for folder in PurePosixPath(path).parents)}
    return any(pattern in above or fnmatch(path, pattern) for pattern in skip)


def _leave_own_services(exclusions: MergeExclusions, base: Files, ours: Files, theirs: Files) -> None:
    """Leave services alone that the old template did not give: made by `invoke new`, or by hand."""
    own = _services(ours) - _services(base)
    for side in (ours, theirs):
        exclusions.leave((path for path in side if _service_of(path) in own), ours)
    exclusions.notes += [
        f"services/{name} is yours; the new template's service of this name is left out"
        for name in sorted(own & _services(theirs))
    ]


def _services(files: Files) -> set[str]:
    return {name for path in files if (name := _service_of(path))}


def _service_of(path: str) -> str:
    parts = path.split("/")
    return parts[1] if path.startswith(SERVICES) and len(parts) > 2 else ""


def _replace_engine(exclusions: MergeExclusions, base: Files, ours: Files, theirs: Files) -> None:
    """Take the new template's engine: its wheel, in the place of another wheel or of sources."""
    wheels = {path for side in (base, ours, theirs) for path in side if fnmatch(path, WHEELS)}
    if wheels & base.keys() and not wheels & ours.keys():
        if new := wheels & theirs.keys():
            exclusions.notes.append(
                f"vendor/ stays without a wheel: publish {PurePosixPath(min(new)).name} to your index"
            )
        exclusions.removed |= wheels
    else:
        exclusions.removed |= wheels
        exclusions.put.update({path: theirs[path] for path in wheels & theirs.keys()})
    if not any(path.startswith(f"{ENGINE}/") for path in theirs):
        exclusions.removed |= {path for side in (base, ours) for path in side if path.startswith(f"{ENGINE}/")}


def _leave_out_deleted_folders(exclusions: MergeExclusions, base: Files, ours: Files, theirs: Files) -> None:
    """Leave out what the new template adds in a folder that the team has deleted, or replaced by a file or link."""
    deleted = _folders(base) - _folders(ours)
    replaced = deleted & ours.keys()
    # A merge would move the team's file out of the way of what both have deleted.
    exclusions.untaken |= {
        path for path in theirs if replaced & {str(folder) for folder in PurePosixPath(path).parents}
    }
    found: dict[str, int] = {}
    for path in theirs.keys() - base.keys() - ours.keys() - exclusions.removed:
        folders = [str(folder) for folder in PurePosixPath(path).parents]
        if gone := [folder for folder in folders if folder in deleted]:
            exclusions.untaken.add(path)
            found[gone[-1]] = found.get(gone[-1], 0) + 1
    exclusions.notes += [
        f"{folder}/ stays deleted; the new template adds {count} file{'s' * (count > 1)} there"
        for folder, count in sorted(found.items())
    ]


def _folders(files: Files) -> set[str]:
    return {str(folder) for path in files for folder in PurePosixPath(path).parents} - {"."}


def keep_team_deletions(merged: MergeResult, store: TreeStore) -> tuple[MergeResult, list[str]]:
    """Return a merge in which stays deleted what the team deleted and the template changed, and a note for each."""
    deletions = [conflict for conflict in merged.conflicts if conflict.kind in ("modify/delete", "rename/delete")]
    dropped = sorted(
        {
            path
            for conflict in deletions
            for path in conflict.paths
            if (sides := merged.stages.get(path)) and 3 in sides and 2 not in sides
        }
    )
    notes = [f"{path} stays deleted: you deleted it, and the template changed it" for path in dropped]
    return merged.without_conflicts(dropped, store.edit(merged.tree, remove=dropped)), notes


def describe_conflicts(merged: MergeResult) -> list[str]:
    """Return each path in conflict with what is to be done about it, in words."""
    reasons: dict[str, dict[str, Conflict]] = {}
    for conflict in merged.conflicts:
        first = next(path for path in conflict.paths if path in merged.stages)
        reasons.setdefault(first, {})[conflict.kind] = conflict
    listed_paths = {path for kinds in reasons.values() for group in kinds.values() for path in group.paths}
    others = sorted(merged.stages.keys() - listed_paths)
    return [*(f"{path}: {_in_words(path, reasons[path])}" for path in sorted(reasons)), *others]


def _in_words(path: str, kinds: Mapping[str, Conflict]) -> str:
    """Return what is said of a path; where there are no words for it, git's own sentence."""
    words = next((words for kind, words in WORDS.items() if kind in kinds), None)
    return words.format(path=path) if words else next(iter(kinds.values())).text.partition("): ")[2]


WORDS = {
    "binary": "not a text file, and you and the template both changed it; yours is kept. "
    "For the template's: git checkout --theirs {path}",
    "modify/delete": "you changed it and the template deleted it; yours is kept. To delete it: git rm {path}",
    "contents": "you and the template changed the same lines; conflict markers show both",
}
"""What is said of a kind of conflict; the first that fits counts."""
