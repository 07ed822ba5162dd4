"""`requirements.txt`, the lock of a workspace's Python packages: the engine's pin in it, and compiling it anew."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from slipway._internal.run.process import run
from slipway._internal.scaffold.template_repository import Tell
from slipway._internal.scaffold.tree_store import MergeResult, TreeStore
from slipway._internal.scaffold.workspace_checkout import WorkspaceCheckout
from slipway._internal.scaffold.workspace_merge import WHEELS, MergeSides

LOCK, SOURCE = "requirements.txt", "requirements.in"
ARGUMENTS = (
    *("pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-header"),
    *("--emit-find-links", "-f", "vendor", "-o", LOCK, SOURCE),
)
COMMAND = " ".join(["uv", *ARGUMENTS])
SECONDS = 300.0
_PINS = re.compile(r"^([A-Za-z0-9][\w.-]*)==.*\n(?: .*\n)*", re.MULTILINE)
_PIN = re.compile(r"^slipway-workspace==.*\n(?: .*\n)*", re.MULTILINE)


def with_engine_pin_of(lock: str, other: str) -> str:
    """Return a lock with the engine pinned as in another; as it is where one of them has no such pin."""
    theirs = _PIN.search(other)
    return _PIN.sub(lambda _own: theirs[0], lock) if theirs else lock


def with_pins_of(lock: str, other: str) -> str:
    """Return a lock with the pins of another for the packages that it has not."""
    names = {found[1] for found in _PINS.finditer(lock)}
    return "".join([lock, *(found[0] for found in _PINS.finditer(other) if found[1] not in names)])


def use_pin_of_template(store: TreeStore, trees: MergeSides) -> MergeSides:
    """Return the sides of a merge, the team's lock with the engine pinned as the old template does.

    The engine is the new template's in any case, so its pin is no change of the team's.
    """
    sides = [store.entries(tree).get(LOCK) for tree in (trees.base, trees.ours)]
    if not all(sides):
        return trees
    base, ours = (store.text(side.oid) for side in sides if side)
    pinned = with_engine_pin_of(ours, base)
    return (
        trees if pinned == ours else replace(trees, ours=store.edit(trees.ours, put={LOCK: store.write_text(pinned)}))
    )


def renew_lock(
    checkout: WorkspaceCheckout,
    store: TreeStore,
    trees: MergeSides,
    merged: MergeResult,
    folder: Path,
    tell: Tell,
    *,
    keep: bool,
) -> tuple[MergeResult, list[str]]:
    """Return a merge whose lock fits what the team asks for, and a note where that is left to the team.

    Args:
        checkout: the workspace.
        store: holds the trees.
        trees: the sides of the merge.
        merged: its result.
        folder: an empty folder.
        tell: told what takes time.
        keep: the update will be made; else nothing is compiled.
    """
    base, ours, theirs = (store.entries(tree) for tree in (trees.base, trees.ours, trees.theirs))
    if all(base.get(name) == ours.get(name) for name in (LOCK, SOURCE)) or LOCK not in ours:
        return merged, []
    if not keep:
        return merged, [f"{LOCK} will be recompiled, because you changed it or {SOURCE}"]
    todo = f"you changed {SOURCE} or {LOCK}: recompile the lock before you commit: {COMMAND}"
    result = store.entries(merged.tree)
    if SOURCE in merged.stages or not {LOCK, SOURCE} <= result.keys():
        return merged, [todo]
    tell(f"Recompiling {LOCK}, because you changed it or {SOURCE}.")
    folder.mkdir()
    wheels = [path for path in result if fnmatch(path, WHEELS)]
    files = checkout.write_files(merged.tree, [*wheels, SOURCE], folder)
    start = store.text(result[LOCK].oid)
    if LOCK in merged.stages:
        start = with_pins_of(store.text(theirs[LOCK].oid) if LOCK in theirs else "", store.text(ours[LOCK].oid))
    (files / LOCK).write_text(start, encoding="utf-8")
    compiled = compile_lock(files)
    if compiled is None:
        return merged, [todo]
    return merged.without_conflicts([LOCK], store.edit(merged.tree, put={LOCK: store.write_text(compiled)})), []


def compile_lock(folder: Path) -> str | None:
    """Compile the lock of a folder anew, with the versions that it has already, and return it.

    None where there is no uv, or it failed: no package index may be in reach.
    """
    if importlib.util.find_spec("uv"):
        uv = [sys.executable, "-m", "uv"]
    elif found := shutil.which("uv"):
        uv = [found]
    else:
        return None
    result = run([*uv, *ARGUMENTS, "--quiet", "--no-progress"], cwd=folder, timeout=SECONDS)
    return (folder / LOCK).read_text(encoding="utf-8") if result.code == 0 else None
