"""Puts an update into the workspace: files one after another, each whole, and a journal while that lasts.

The index gets the new content first, all at once, then the files follow. So `git restore --staged --worktree` undoes an
update at any moment, finished or not, and the next `invoke update` finishes one that was killed.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import msgspec

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.files import MAX_STATE_BYTES, disk_errors, write_atomically
from slipway._internal.model.scratch import FOLDER_NAME as SCRATCH
from slipway._internal.model.scratch import temporary_folder
from slipway._internal.model.structured_files import path_exists, read_json
from slipway._internal.scaffold import template_record
from slipway._internal.scaffold.tree_store import Entry
from slipway._internal.scaffold.workspace_checkout import SHOWN, WorkspaceCheckout, open_checkout

UNDO = "restore --source=HEAD --staged --worktree -- ."
"""What git does to bring back the workspace as it was, in its own folder."""
COLLAPSE_OVER = 20
"""Files of a folder that are named when all that is done there is to delete them."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class FileChange(msgspec.Struct, frozen=True):
    """What an update does with one path; `sides` are the versions of one in conflict, by git's stage."""

    path: str
    before: Entry | None
    after: Entry | None
    sides: dict[int, Entry] = {}

    @property
    def kind(self) -> str:
        """What becomes of the file, in a word."""
        if self.sides:
            return "conflict"
        return "changed" if self.before and self.after else "added" if self.after else "deleted"

    @property
    def index_entries(self) -> dict[int, Entry]:
        """What git's index gets, by stage. A path that is in no commit is never in conflict there: UNDO would fail."""
        if self.sides and self.before:
            return self.sides
        return {0: self.after} if self.after else {}


class UpdatePlan(msgspec.Struct, frozen=True):
    """An update that is ready to be put into the workspace, and what is told when it is there."""

    head: str
    tree: str
    version: str
    changes: list[FileChange]
    conflicts: list[str] = []
    notes: list[str] = []
    news: list[str] = []


def undo_command(root: Path) -> str:
    """Return the command that brings back the workspace as it was, for the folder that the user stands in."""
    if Path.cwd() == root:
        return f"git {UNDO}"
    return f"git -C {shlex.quote(str(root))} {UNDO}"


def change_rows(changes: Sequence[FileChange]) -> list[tuple[str, str]]:
    """Return what becomes of each file, in a word, and its path; of a folder in which many only go, one row."""
    kinds: dict[str, list[str]] = {}
    for change in changes:
        kinds.setdefault(change.path.partition("/")[0], []).append(change.kind)
    gone = {top: len(words) for top, words in kinds.items() if {*words} == {"deleted"} and len(words) > COLLAPSE_OVER}
    found = [(change.kind, change.path) for change in changes if change.path.partition("/")[0] not in gone]
    return sorted(
        [*found, *(("deleted", f"{top}/ ({count} files)") for top, count in gone.items())], key=lambda row: row[1]
    )


def journal_path(root: Path) -> Path:
    """Return the file that is there while an update is being put into the workspace."""
    return root / SCRATCH / "update.json"


def apply_update(checkout: WorkspaceCheckout, update: UpdatePlan) -> None:
    """Put an update into a workspace that has no changes of its own.

    Raises:
        ConfigError: a file is in the way, or the workspace was changed meanwhile.
        WriteError: the disk does not take it; the journal stays, and the next update goes on.
    """
    if open_checkout(checkout.root).head != checkout.head:
        raise ConfigError("another commit was checked out during the update", remedy="Run `invoke update` again.")
    checkout.require_clean()
    refuse_to_overwrite(checkout, update.changes)
    _write_update(checkout, update)


def is_interrupted(checkout: WorkspaceCheckout) -> bool:
    """Whether an update was killed while it was written, and nobody has undone it since."""
    journal = journal_path(checkout.root)
    if not journal.exists():
        return False
    if checkout.uncommitted_files():
        return True
    journal.unlink()
    return False


def resume_update(checkout: WorkspaceCheckout) -> UpdatePlan | None:
    """Finish an update that was killed, and return it; None where there is none, or nothing of it is there.

    Raises:
        ConfigError: its files were changed since, or another commit is checked out.
    """
    if not is_interrupted(checkout):
        return None
    journal = journal_path(checkout.root)
    undo = undo_command(checkout.root)
    remedy = f"Undo it ({undo}) and start anew; or keep what is there and remove {SCRATCH}/{journal.name}."
    update = read_json(journal, UpdatePlan, what="journal of an update", remedy=remedy, limit=MAX_STATE_BYTES)
    if checkout.head != update.head:
        raise ConfigError("an update was interrupted, and another commit is checked out since", remedy=remedy)
    if others := _find_user_edits(checkout, update):
        raise ConfigError(
            f"an update was interrupted, and these files were changed since: {', '.join(others[:SHOWN])}", remedy=remedy
        )
    _write_update(checkout, update)
    return update


def refuse_to_overwrite(checkout: WorkspaceCheckout, changes: Sequence[FileChange]) -> None:
    """Refuse to write over what git does not know: files that it ignores, and those that it was told not to look at.

    Raises:
        ConfigError: it names them.
    """
    root = checkout.root
    if unwatched := sorted({change.path for change in changes} & checkout.unwatched_files()):
        raise ConfigError(
            f"git is told not to look at files that the update changes: {', '.join(unwatched[:SHOWN])}",
            remedy="Have it look, then commit or undo what differs: "
            "git update-index --no-assume-unchanged FILE; git update-index --no-skip-worktree FILE. "
            "In a sparse checkout: git sparse-checkout disable",
        )
    removed = {change.path for change in changes if not change.after}
    new = [change.path for change in changes if change.after and not change.before]
    if obstacles := sorted({found for path in new if (found := _find_obstacle(root, path, removed))}):
        raise ConfigError(
            f"the template adds files where git ignores others: {', '.join(obstacles[:SHOWN])}",
            remedy="Move or remove them, and run `invoke update` again.",
        )


def apply_order(changes: Sequence[FileChange]) -> list[FileChange]:
    """Return changes in an order in which a command that runs in between finds what it needs.

    What stands in another file's way goes first, the engine comes before what asks for it, then what
    is no longer needed goes, and tasks.py comes. The record, which says that the update is done, is
    the last.
    """
    written = {change.path for change in changes if change.after}

    def rank(change: FileChange) -> tuple[int, str]:
        path = change.path
        if path == template_record.NAME:
            return 5, path
        if path == "tasks.py":
            return 4, path
        if not change.after:
            above = {str(folder) for folder in Path(path).parents}
            in_the_way = above & written or any(other.startswith(f"{path}/") for other in written)
            return 0 if in_the_way else 3, path
        return 1 if path.startswith("vendor/") else 2, path

    return sorted(changes, key=rank)


def _write_update(checkout: WorkspaceCheckout, update: UpdatePlan) -> None:
    with temporary_folder(checkout.root / SCRATCH, "update") as folder, disk_errors(checkout.root):
        files = checkout.write_files(update.tree, [change.path for change in update.changes if change.after], folder)
        with deferred_signals():
            write_atomically(journal_path(checkout.root), msgspec.json.encode(update).decode())
            checkout.set_index({change.path: change.index_entries for change in update.changes})
            for change in apply_order(update.changes):
                if change.after:
                    place_file(files / change.path, checkout.root / change.path)
                else:
                    remove_file(checkout.root, change.path)
            checkout.refresh_index()
            journal_path(checkout.root).unlink()


def place_file(source: Path, target: Path) -> None:
    """Put a file, or a link, in another's place; whoever looks finds the old one or the new one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = target.with_name(f".{target.name[:180]}.{os.getpid()}")  # the scratch folder is on another disk
        shutil.copy2(source, beside, follow_symlinks=False)
        beside.replace(target)


def remove_file(root: Path, path: str) -> None:
    """Remove a file of the workspace, and the folders that it leaves empty."""
    with suppress(FileNotFoundError, NotADirectoryError):
        (root / path).unlink()
    for folder in Path(path).parents:
        if folder == Path():
            return
        try:
            (root / folder).rmdir()
        except OSError:
            return


def _find_obstacle(root: Path, path: str, removed: set[str]) -> str | None:
    """Return what stands where a new file goes, or where a folder above it goes; None where nothing does."""
    for above in reversed(Path(path).parents[:-1]):
        if path_exists(root / above) and (not (root / above).is_dir() or (root / above).is_symlink()):
            return None if str(above) in removed else str(above)
    target = root / path
    if target.is_dir() and not target.is_symlink():
        inside = {
            str(entry.relative_to(root)) for entry in target.rglob("*") if entry.is_symlink() or not entry.is_dir()
        }
        return next(iter(sorted(inside - removed)), None)
    return path if path_exists(target) else None


def _find_user_edits(checkout: WorkspaceCheckout, update: UpdatePlan) -> list[str]:
    """Return the files that are neither as they were before an update nor as it wants them."""
    with temporary_folder(checkout.root / SCRATCH, "update") as folder:
        old, new = checkout.differing_files(checkout.tree, folder), checkout.differing_files(update.tree, folder)

    def is_as(entry: Entry | None, path: str, differing: set[str]) -> bool:
        return path not in differing if entry else not path_exists(checkout.root / path)

    return [
        change.path
        for change in update.changes
        if not is_as(change.before, change.path, old) and not is_as(change.after, change.path, new)
    ]


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Let Ctrl-C, and what else ends a program politely, wait for the end of a `with`."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
    if came:
        signal.raise_signal(came[0])
