"""A stack's state in a file backend: whether it is whole, its backups, and whether there is room to write it anew.

Pulumi's file backend puts a file that a full disk cut short in the place of the good one (gocloud.dev's fileblob closes
its writer after an error, and closing renames), after each resource and so over its own `.bak` as well. Hence the
backups here: hard links, which cost no room and keep what the file was, as Pulumi never writes into one.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from slipway._internal.model.errors import EvidenceError, SlipwayError
from slipway._internal.model.files import (
    MAX_STATE_BYTES,
    MEGABYTE,
    format_megabytes,
    free_bytes,
    read_bytes,
    write_atomically,
)
from slipway._internal.model.parsing import ParseError, parse_json
from slipway._internal.model.project import Project
from slipway._internal.model.stack import how_to_deploy
from slipway._internal.model.structured_files import read_json_or_none
from slipway._internal.run.state import deploy_marker_file, local_state_folder, state_file

BACKUP_COUNT = 3
"""So many of the newest backups stay."""
BACKUP_PREFIXES = ("slipway-", "removed-")
"""How backups' names begin: of a stack's state, and of one that was removed."""
STATE_COPIES, SPACE_MARGIN = 4, 16 * MEGABYTE
"""Room that a deploy needs: for so many copies of the state (the file, its backup, its history), and for logs."""
MIN_FREE_INODES = 64
TEMPORARY_AGE_SECONDS = 5
BACKEND_META = "version: 1\n"
"""What Pulumi writes into `.pulumi/meta.yaml`."""


class _Checkpoint(msgspec.Struct):
    latest: dict[str, Any] | None = None


class _StateDocument(msgspec.Struct):
    """What a whole state has: cut short, it is not JSON."""

    version: int
    checkpoint: _Checkpoint


def repair_state(project: Project, stack: str) -> str:
    """Put back a stack's state that a full disk has damaged; return what was done in words, or nothing.

    The mark of an interrupted deploy is left, so that the next one reads what really runs.

    Raises:
        EvidenceError: it is damaged, and there is no backup.
        SlipwayError: it cannot be read.
    """
    folder = local_state_folder(project)
    if not folder:
        return ""
    file = state_file(folder, project.name, stack)
    repair_metadata(file)
    if not find_damage(file):
        return ""
    marker = deploy_marker_file(project.root, stack)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    return restore_backup(file)


def find_damage(file: Path) -> str:
    """Return what is wrong with what a state's file holds; nothing where it is whole, or not there.

    Raises:
        SlipwayError: it cannot be read. It may be whole all the same, so nothing is put in its place.
    """
    try:
        data = read_bytes(file, MAX_STATE_BYTES)
        if not data:
            return "it is empty"
        parse_json(data, _StateDocument)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        if error.errno == errno.EFBIG:
            return ""  # nobody has looked into it
        raise SlipwayError(
            f"{file}, the state, cannot be read: {error.strerror or error}",
            remedy=f"Nothing was changed. `ls -l {file}` shows its owner: this user must be able to read and write it.",
        ) from error
    except ParseError as error:
        return f"it is not a state: {error}"
    return ""


def require_space(file: Path) -> None:
    """Make sure that the disk of a state has room for a deploy.

    Raises:
        SlipwayError: it has not, or would have no room for more files.
    """
    folder = next(parent for parent in file.parents if parent.is_dir())
    needed = STATE_COPIES * (file.stat().st_size if file.is_file() else 0) + SPACE_MARGIN
    free = free_bytes(folder)
    remedy = (
        "Nothing was changed. Free some space and run it again: `invoke prune` removes images that nothing needs; "
        f"`df -h {folder}` and `df -i {folder}` show what is used."
    )
    if free is not None and free < needed:
        raise SlipwayError(
            f"only {format_megabytes(free)} are free in {folder}, and a deploy writes its state there: it needs "
            f"{format_megabytes(needed)}",
            remedy=remedy,
        )
    with suppress(OSError):
        filesystem = os.statvfs(folder)
        if filesystem.f_files and filesystem.f_favail < MIN_FREE_INODES:
            raise SlipwayError(f"the disk of {folder} has no free inodes", remedy=remedy)


def remove_temporary_files(file: Path) -> None:
    """Remove what a killed Pulumi was about to rename over a file of this stack; one that works needs no second.

    Whatever else lies in the backend's folder, which may be `~/.pulumi`, is not looked at.
    """
    backend, project = file.parents[2], file.parent.name
    folders = [backend / kind / project / file.stem for kind in ("history", "backups")]
    folders.append(backend / "locks" / "organization" / project / file.stem)
    leftovers = [*file.parent.glob(f"{glob.escape(file.name)}.*.tmp"), *backend.glob("meta.yaml.*.tmp")]
    for leftover in [*leftovers, *(path for folder in folders for path in folder.glob("*.tmp"))]:
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > TEMPORARY_AGE_SECONDS:
                leftover.unlink()


def back_up(file: Path) -> None:
    """Keep a state as it is now, before it is changed; what is kept already, or is not whole, is not kept again.

    Where there is none, backups are those of a stack that was removed: they are put aside, so that none of them ever
    stands in for what is begun now.

    Raises:
        SlipwayError: it cannot be read.
    """
    newest = _backup_path(file, 1)
    with suppress(OSError):
        if not os.path.lexists(file):
            for number in range(1, BACKUP_COUNT + 1):
                with suppress(FileNotFoundError):
                    _backup_path(file, number).replace(newest.with_name(f"{BACKUP_PREFIXES[1]}{number}.json"))
        if newest.exists() and file.samefile(newest):
            return
        if not file.is_file() or find_damage(file):
            return
        newest.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in range(BACKUP_COUNT, 1, -1):
            with suppress(FileNotFoundError):
                _backup_path(file, number - 1).replace(_backup_path(file, number))
        file.chmod(0o600)
        try:
            newest.hardlink_to(file)
        except OSError:  # a file system without links
            shutil.copy2(file, newest)


def restore_backup(file: Path) -> str:
    """Put the newest whole backup in the place of a state that is damaged, and return what was done in words.

    The damaged file stays beside it. Nothing is done, and nothing returned, where the state is whole.

    Raises:
        EvidenceError: it is damaged, and there is no backup.
        SlipwayError: it cannot be read.
    """
    repair_metadata(file)
    problem = find_damage(file)
    if not problem:
        return ""
    for number in range(1, BACKUP_COUNT + 1):
        backup = _backup_path(file, number)
        if _is_intact(backup):
            _replace_with_backup(backup, file)
            return f"The state in {file} was damaged ({problem}): the last whole one, {backup}, is in its place again."
    pulumi_backup = file.with_name(f"{file.name}.bak")  # Pulumi's
    if _is_intact(pulumi_backup):
        _replace_with_backup(pulumi_backup, file)
        return f"The state in {file} was damaged ({problem}): Pulumi's copy, {pulumi_backup}, is in its place again."
    raise EvidenceError(
        f"{file} is damaged ({problem}), and there is no backup",
        remedy=f"Put a copy of it there; or, without one, move it away (`mv {file} {file}.damaged`) and run "
        f"`{how_to_deploy(file.stem)} --yes`: what runs is replaced by what the workspace says, and the record of "
        "releases begins anew.",
    )


def _is_intact(file: Path) -> bool:
    """Whether a copy is there, can be read, and is a state."""
    try:
        return file.is_file() and not find_damage(file)
    except (OSError, SlipwayError):
        return False


def repair_metadata(file: Path) -> None:
    """Remove or rewrite what a full disk has cut short beside a state: the backend's own notes, which say little.

    A blob's `.attrs` may be missing, but not damaged. Without its version the backend looks for stacks where an older
    one had them.
    """
    version = file.parents[2] / "meta.yaml"
    for path in (file, version):
        attributes = path.with_name(f"{path.name}.attrs")
        with suppress(OSError):
            if attributes.exists() and not isinstance(read_json_or_none(attributes), dict):
                attributes.unlink()
    with suppress(OSError):
        if version.exists() and not version.read_bytes().strip(b"\0 \n"):
            write_atomically(version, BACKEND_META)


def _replace_with_backup(backup: Path, file: Path) -> None:
    """Rename a copy over the damaged file, which is kept beside it."""
    file.with_name(f"{file.name}.attrs").unlink(missing_ok=True)
    new = file.with_name(f".{file.name}.restored")
    new.unlink(missing_ok=True)
    shutil.copy2(backup, new)
    new.chmod(0o600)
    with suppress(OSError):
        file.with_name(f"{file.name}.damaged").unlink(missing_ok=True)
        file.with_name(f"{file.name}.damaged").hardlink_to(file)
    new.replace(file)


def _backup_path(file: Path, number: int) -> Path:
    """Return the path of a backup, the newest being number 1."""
    project = file.parent.name
    return file.parents[2] / "backups" / project / file.stem / f"{BACKUP_PREFIXES[0]}{number}.json"
