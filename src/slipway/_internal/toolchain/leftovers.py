"""What Slipway left on this machine and may remove: old tools, Go's caches, mount points."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from slipway._internal.toolchain.locking import file_lock
from slipway._internal.toolchain.paths import cache_path, tools_path
from slipway._internal.toolchain.tool_catalog import FRONTEND_TOOL, load_tools

PROC = Path("/proc")
MOUNT_PATTERN = "buildkit-mount*"
_ESCAPED = re.compile(r"\\([0-7]{3})")
"""How the kernel tells of a blank or the like in a path."""
MOUNT_SECONDS = 3600.0
"""How old an empty mount point of BuildKit's is before it counts as left: what is being built mounts at once."""


@dataclass(frozen=True)
class Leftover:
    """Something that may go: what it is, why, how many bytes come free, and how it is removed."""

    what: str
    why: str
    bytes: int
    remove: Callable[[], None]


def find_leftovers() -> list[Leftover]:
    """Return what can go from this machine; nothing is changed, and nothing is named that Slipway did not make."""
    return [*_old_tools(), *_go_caches(), *_empty_mounts(Path(tempfile.gettempdir()))]


def go_folder() -> Path:
    """Return the folder of the caches that Go has while it builds tools: never the user's own."""
    return cache_path() / "go"


@contextmanager
def using_go_caches() -> Iterator[None]:
    """Keep Go's caches from being removed for the time of a `with`."""
    go_folder().mkdir(parents=True, exist_ok=True)
    with file_lock(_go_lock(), lambda: None, shared=True):
        yield


def remove_go_caches() -> None:
    """Remove Go's caches, unless something is being built with them."""
    with suppress(OSError), _go_lock().open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(go_folder(), ignore_errors=True)


def folder_size(path: Path) -> int:
    """Return how many bytes a folder's files have; 0 where it is not there."""
    total, pending = 0, [str(path)]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def _go_lock() -> Path:
    return go_folder().with_suffix(".lock")


def _go_caches() -> Iterator[Leftover]:
    if size := folder_size(go_folder()):
        yield Leftover(str(go_folder()), "only builds of tools read it", size, remove_go_caches)


def _old_tools() -> Iterator[Leftover]:
    """Yield the versions of tools that this Slipway does not use and nothing runs, and what is in a registry by now."""
    running = _running_programs()
    for name, tool in load_tools().items():
        for folder in sorted((tools_path() / name).glob("[0-9]*/")):
            if folder.name != tool.version and not folder.is_symlink() and not _is_running(folder, running):
                why = f"{tool.version} is the one that is used"
                yield _old_tool(folder, why)
    for folder in sorted((tools_path() / FRONTEND_TOOL).glob("[0-9]*/")):
        yield _old_tool(folder, "only making a frontend's image reads it")


def _old_tool(folder: Path, why: str) -> Leftover:
    return Leftover(str(folder), why, folder_size(folder), partial(shutil.rmtree, folder, ignore_errors=True))


def _running_programs() -> set[Path]:
    """Return the files of all programs that run, as far as this user may know."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found.add((process / "exe").readlink())
    return found


def _is_running(folder: Path, running: set[Path]) -> bool:
    return any(program.is_relative_to(folder.resolve()) for program in running)


def _empty_mounts(above: Path) -> list[Leftover]:
    """Return BuildKit's empty mount points that nothing is mounted on, as one: there are hundreds."""
    mounted = {str(path) for path in _mount_points()}
    oldest = time.time() - MOUNT_SECONDS
    empty = []
    for folder in above.glob(MOUNT_PATTERN):
        with suppress(OSError):
            folder_status = folder.lstat()
            if (
                folder_status.st_uid == os.geteuid()
                and folder_status.st_mtime < oldest
                and str(folder.resolve()) not in mounted
            ):
                empty += [folder] if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()) else []
    if not empty:
        return []
    return [
        Leftover(
            f"{above / MOUNT_PATTERN} ({len(empty)})", "nothing is mounted there", 0, partial(_remove_folders, empty)
        )
    ]


def _mount_points() -> Iterator[Path]:
    """Yield where something is mounted, for whichever process: a builder may have mounts of its own."""
    for table in PROC.glob("[0-9]*/mountinfo"):
        with suppress(OSError):
            for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
                if "/buildkit-mount" in line:
                    yield Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), line.split()[4]))


def _remove_folders(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # not empty, or mounted, by now: then it is in use
            folder.rmdir()
