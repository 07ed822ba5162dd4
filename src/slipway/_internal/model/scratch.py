"""A workspace's folder for scratch files, `.slipway`, and in it each process's own folder for temporary ones.

A process holds a lock in its folder in `.slipway/tmp`, which the system lets go of however the process ends. So the
next start knows what a killed one has left, and removes that; what a living one uses it never touches.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER_NAME = ".slipway"
_OUTSIDE_PREFIX = "outside-"
"""How links are called, in a process's folder, that lead to what it makes elsewhere and that has to go with it."""
_SESSION_PREFIX = "session-"
"""How files are called, in a process's folder, that name a program which it has started."""
PROCESS_VARIABLE = "SLIPWAY_PROCESS"
"""The variable by which programs are known whose starter has a folder: that holds the folder's name."""
_LOCK_FILE = "lock"
EndSessions = Callable[[Mapping[int, str], str], None]
"""Given the numbers of sessions, when the leader of each began, and the mark that their programs carry."""
_process_folders: dict[Path, tuple[int, Path, int]] = {}
"""Scratch folder → this process's number, its folder there, and the descriptor that holds the lock."""
_folders_lock = threading.Lock()


def find_scratch(path: Path) -> Path | None:
    """Return the scratch folder of the workspace that a path is in; None where it is in none that has one."""
    for folder in path.parents:
        if folder.name == FOLDER_NAME:
            return folder
        if (folder / FOLDER_NAME).is_dir() and (folder / "workspace.toml").is_file():
            return folder / FOLDER_NAME
    return None


def prepare(scratch: Path, end_sessions: EndSessions = lambda _left, _mark: None) -> None:
    """Make a workspace's scratch folder for this user's eyes only, and remove what killed processes left in it.

    Args:
        scratch: the folder.
        end_sessions: given the programs that killed processes had started, before the files go which those may use.
    """
    try:
        scratch.mkdir(mode=0o700)
    except FileExistsError:
        if scratch.stat().st_mode & 0o077:
            scratch.chmod(0o700)
    remove_stale_folders(scratch, end_sessions)


def remove_stale_folders(scratch: Path, end_sessions: EndSessions = lambda _left, _mark: None) -> None:
    """Remove the temporary files of processes that live no more."""
    try:
        names = os.listdir(scratch / "tmp")  # noqa: PTH208 - each start of a command waits for this
    except FileNotFoundError:
        return
    for name in names:
        folder = scratch / "tmp" / name
        if scratch in _process_folders and _process_folders[scratch][1] == folder:
            continue
        if (descriptor := _try_lock(folder)) is not None:
            if sessions := _read_sessions(folder):
                end_sessions(sessions, folder.name)
            _remove_stale_folder(folder)
            os.close(descriptor)
            with suppress(OSError):  # NFS keeps a file that is open in another name
                folder.rmdir()


@contextmanager
def track_session(leader: int, born: str) -> Iterator[None]:
    """Have the next start end a program that this process has started in a session of its own, should this be killed.

    Args:
        leader: the program's process number, which is the session's.
        born: when it began, in whatever form `end_sessions` compares.
    """
    notes = [
        folder / f"{_SESSION_PREFIX}{leader}"
        for process, folder, _ in [*_process_folders.values()]
        if process == os.getpid()
    ]
    for note in notes:
        with suppress(OSError):
            note.write_text(born, encoding="ascii")
    try:
        yield
    finally:
        for note in notes:
            with suppress(OSError):
                note.unlink()


def _read_sessions(folder: Path) -> dict[int, str]:
    found = {}
    for note in folder.glob(f"{_SESSION_PREFIX}[0-9]*"):
        with suppress(OSError, ValueError):
            found[int(note.name.removeprefix(_SESSION_PREFIX))] = note.read_text(encoding="ascii")
    return found


def process_folder(scratch: Path) -> Path:
    """Return this process's own folder for temporary files; it goes when the process ends.

    Raises:
        OSError: it cannot be made.
    """
    with _folders_lock:
        if (
            scratch in _process_folders
            and _process_folders[scratch][0] == os.getpid()
            and _process_folders[scratch][1].is_dir()
        ):
            return _process_folders[scratch][1]
        parent = scratch / "tmp"
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            folder = _new_folder(parent, str(os.getpid()))
            if (descriptor := _try_lock(folder, own=True)) is not None:
                break  # else a sweep came between, and removes it
        _process_folders[scratch] = (os.getpid(), folder, descriptor)
        atexit.register(_remove_process_folder, scratch)
        return folder


def process_mark() -> dict[str, str]:
    """Return the variable by which what this process starts is known as its own; none where it has no folder."""
    folders = [folder for process, folder, _ in [*_process_folders.values()] if process == os.getpid()]
    return {PROCESS_VARIABLE: folders[-1].name} if folders else {}


@contextmanager
def temporary_folder(scratch: Path, name: str) -> Iterator[Path]:
    """Yield a new folder in this process's own for the time of a `with`; `name` begins its name."""
    folder = _new_folder(process_folder(scratch), name)
    try:
        yield folder
    finally:
        _remove_tree(folder)


@contextmanager
def remove_if_killed(scratch: Path, path: Path) -> Iterator[Path]:
    """Have a path that is made outside the scratch folder removed at the next start, should this process be killed."""
    link = process_folder(scratch) / f"{_OUTSIDE_PREFIX}{path.name}"
    link.symlink_to(path.absolute())
    try:
        yield path
    finally:
        link.unlink(missing_ok=True)


def _new_folder(parent: Path, name: str) -> Path:
    folder = parent / f"{name}-{os.urandom(6).hex()}"
    folder.mkdir(mode=0o700)
    return folder


def _try_lock(folder: Path, *, own: bool = False) -> int | None:
    """Return a descriptor that holds a folder's lock; None where another process has it or the folder is gone.

    It is a file's, open for writing: NFS locks nothing else. Where nothing is locked at all, this process's `own`
    folder is used without, and no sweep removes it.

    Raises:
        OSError: there cannot be a lock in this process's `own` folder.
    """
    try:
        descriptor = _open_lock(folder)
    except FileNotFoundError:
        return None
    except OSError:
        if own:
            folder.rmdir()
            raise
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked = True
    except OSError as error:
        locked = own and not isinstance(error, BlockingIOError)
    with suppress(OSError):
        if locked and (folder / _LOCK_FILE).stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    os.close(descriptor)
    return None


def _open_lock(folder: Path) -> int:
    """Open a folder's lock; never that of a folder which a link leads to, nor one that is a link or a pipe."""
    folder_descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.open(_LOCK_FILE, flags, 0o600, dir_fd=folder_descriptor)
    finally:
        os.close(folder_descriptor)


def _remove_stale_folder(folder: Path) -> None:
    for link in folder.glob(f"{_OUTSIDE_PREFIX}*"):
        with suppress(OSError):
            target = link.readlink()
            _remove_tree(target) if target.is_dir() and not target.is_symlink() else target.unlink(missing_ok=True)
    _remove_tree(folder)


def _remove_process_folder(scratch: Path) -> None:
    process, folder, descriptor = _process_folders.pop(scratch, (0, scratch, -1))
    if process == os.getpid():
        with suppress(OSError):
            os.close(descriptor)
        _remove_tree(folder)


def _remove_tree(folder: Path) -> None:
    import shutil  # only now: what finds nothing to do does not wait for it

    shutil.rmtree(folder, ignore_errors=True)
