"""Brings a newer version of the template into a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.scratch import FOLDER_NAME as SCRATCH
from slipway._internal.model.scratch import temporary_folder
from slipway._internal.scaffold.template_repository import Tell
from slipway._internal.scaffold.tree_store import TreeStore
from slipway._internal.scaffold.update_apply import (
    UpdatePlan,
    apply_update,
    is_interrupted,
    journal_path,
    refuse_to_overwrite,
    resume_update,
    undo_command,
)
from slipway._internal.scaffold.update_plan import Confirm, UpdateRequest, locate_versions, prepare_update
from slipway._internal.scaffold.update_versions import read_template_origin
from slipway._internal.scaffold.workspace_checkout import SHOWN, WorkspaceCheckout, open_checkout
from slipway._internal.toolchain.doctor import CheckResult
from slipway._internal.toolchain.locking import file_lock


@dataclass(frozen=True)
class VersionGap:
    """How far a workspace is behind its template: the versions' names, and the commits between them."""

    old: str
    new: str
    commits: int


def check_update(root: Path, request: UpdateRequest, tell: Tell) -> VersionGap | None:
    """Return how far a workspace is behind; None where it is up to date. Nothing is written, and no code is run.

    Raises:
        ConfigError: the workspace or its template cannot be read.
        SlipwayError: an update was interrupted, or left conflicts that nobody has mended.
    """
    checkout, origin = open_checkout(root), read_template_origin(root)
    _refuse_unfinished(checkout)
    if files := checkout.conflicted_files():
        raise SlipwayError(
            f"files are in conflict: {', '.join(files[:SHOWN])}",
            remedy=f"Mend each, `git add` it and commit. Or undo the update: {undo_command(root)}",
        )
    with temporary_folder(root / SCRATCH, "update") as folder:
        store = TreeStore(folder / "trees", checkout.objects, checkout.object_format, keep=False)
        # Only versions count here: with other answers than before there is always something to do.
        versions = locate_versions(checkout, origin, store, replace(request, answers={}), folder, tell)
        if versions is None:
            return None
        return VersionGap(
            versions.old.name_of(versions.old_commit),
            versions.new.name_of(versions.new_commit),
            versions.new.commits_between(versions.old_commit, versions.new_commit),
        )


def preview_update(root: Path, request: UpdateRequest, tell: Tell, confirm: Confirm) -> UpdatePlan | None:
    """Return the update that would be made; None where the workspace is up to date. Nothing is written.

    Raises:
        SlipwayError: it cannot be made.
    """
    checkout = open_checkout(root)
    _refuse_unfinished(checkout)
    checkout.require_clean()
    with temporary_folder(root / SCRATCH, "update") as folder:
        update = prepare_update(checkout, request, folder, tell, confirm, keep=False)
    if update:
        refuse_to_overwrite(checkout, update.changes)
    return update


def update_workspace(root: Path, request: UpdateRequest, tell: Tell, confirm: Confirm) -> UpdatePlan | None:
    """Bring a version of the template into a workspace, and return what was done; None where it is up to date.

    Nothing is committed. An update that was killed is finished first, and is then what is returned.

    Args:
        root: the workspace, which has no changes of its own.
        request: what is asked for.
        tell: told what takes time.
        confirm: asked before code of a template runs that the workspace does not come from.

    Raises:
        SlipwayError: it cannot be made; the workspace is as it was.
    """
    wait = "Another command of this workspace builds or pushes: waiting for its end."
    with file_lock(root / SCRATCH / "run" / "turn.lock", lambda: tell(wait)):
        checkout = open_checkout(root)
        if finished := resume_update(checkout):
            tell("Finished the update that was interrupted.")
            return finished
        checkout.require_clean()
        with temporary_folder(root / SCRATCH, "update") as folder:
            found = prepare_update(checkout, request, folder, tell, confirm, keep=True)
        if found:
            apply_update(checkout, found)
        return found


def interrupted_update(root: Path) -> Iterator[CheckResult]:
    """Tell `invoke doctor` of an update that was killed; nothing where there is none."""
    if journal_path(root).exists() and is_interrupted(open_checkout(root)):
        remedy = f"Finish it: invoke update. Or undo it: {undo_command(root)}"
        yield CheckResult("update", False, "it was interrupted: some files are the old ones, some the new", remedy)


def _refuse_unfinished(checkout: WorkspaceCheckout) -> None:
    """Refuse to look at a workspace in which an update stopped half-way.

    Raises:
        SlipwayError: with how to finish or undo it.
    """
    if is_interrupted(checkout):
        undo = undo_command(checkout.root)
        raise SlipwayError("an update was interrupted", remedy=f"Finish it: invoke update. Or undo it: {undo}")
