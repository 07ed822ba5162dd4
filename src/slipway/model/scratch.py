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

NAME = ".slipway"
_OUTSIDE = "outside-"
"""How links are called, in a process's folder, that lead to what it makes elsewhere and that has to go with it."""
_SESSION = "session-"
"""How files are called, in a process's folder, that name a program which it has started."""
MARK = "SLIPWAY_PROCESS"
"""The variable by which programs are known whose starter has a folder: that holds the folder's name."""
_LOCK = "lock"
OnSessions = Callable[[Mapping[int, str], str], None]
"""Given the numbers of sessions, when the leader of each began, and the MARK that their programs have."""
_own: dict[Path, tuple[int, Path, int]] = {}
"""Scratch folder → this process's number, its folder there, and the descriptor that holds the lock."""
_one = threading.Lock()


def scratch_of(path: Path) -> Path | None:
    """Return the scratch folder of the workspace that a path is in; None where it is in none that has one."""
    for folder in path.parents:
        if folder.name == NAME:
            return folder
        if (folder / NAME).is_dir() and (folder / "workspace.toml").is_file():
            return folder / NAME
    return None


def prepare(scratch: Path, end_sessions: OnSessions = lambda _left, _mark: None) -> None:
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
    sweep(scratch, end_sessions)


def sweep(scratch: Path, end_sessions: OnSessions = lambda _left, _mark: None) -> None:
    """Remove the temporary files of processes that live no more."""
    try:
        names = os.listdir(scratch / "tmp")  # noqa: PTH208 - each start of a command waits for this
    except FileNotFoundError:
        return
    for name in names:
        folder = scratch / "tmp" / name
        if scratch in _own and _own[scratch][1] == folder:
            continue
        if (descriptor := _lock(folder)) is not None:
            if left := _sessions(folder):
                end_sessions(left, folder.name)
            _remove(folder)
            os.close(descriptor)
            with suppress(OSError):  # NFS keeps a file that is open in another name
                folder.rmdir()


@contextmanager
def noted_session(leader: int, born: str) -> Iterator[None]:
    """Have the next start end a program that this process has started in a session of its own, should this be killed.

    Args:
        leader: the program's process number, which is the session's.
        born: when it began, in whatever form `end_sessions` compares.
    """
    notes = [folder / f"{_SESSION}{leader}" for process, folder, _ in [*_own.values()] if process == os.getpid()]
    for note in notes:
        with suppress(OSError):
            note.write_text(born, encoding="ascii")
    try:
        yield
    finally:
        for note in notes:
            with suppress(OSError):
                note.unlink()


def _sessions(folder: Path) -> dict[int, str]:
    found = {}
    for note in folder.glob(f"{_SESSION}[0-9]*"):
        with suppress(OSError, ValueError):
            found[int(note.name.removeprefix(_SESSION))] = note.read_text(encoding="ascii")
    return found


def own_folder(scratch: Path) -> Path:
    """Return this process's own folder for temporary files; it goes when the process ends.

    Raises:
        OSError: it cannot be made.
    """
    with _one:
        if scratch in _own and _own[scratch][0] == os.getpid() and _own[scratch][1].is_dir():
            return _own[scratch][1]
        above = scratch / "tmp"
        above.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            folder = _new_folder(above, str(os.getpid()))
            if (descriptor := _lock(folder, own=True)) is not None:
                break  # else a sweep came between, and removes it
        os.environ[MARK] = folder.name
        _own[scratch] = (os.getpid(), folder, descriptor)
        atexit.register(_remove_own, scratch)
        return folder


@contextmanager
def temporary_folder(scratch: Path, name: str) -> Iterator[Path]:
    """Yield a new folder in this process's own for the time of a `with`; `name` begins its name."""
    folder = _new_folder(own_folder(scratch), name)
    try:
        yield folder
    finally:
        _remove_tree(folder)


@contextmanager
def remove_with_process(scratch: Path, path: Path) -> Iterator[Path]:
    """Have a path that is made outside the scratch folder removed at the next start, should this process be killed."""
    link = own_folder(scratch) / f"{_OUTSIDE}{path.name}"
    link.symlink_to(path.absolute())
    try:
        yield path
    finally:
        link.unlink(missing_ok=True)


def _new_folder(above: Path, name: str) -> Path:
    folder = above / f"{name}-{os.urandom(6).hex()}"
    folder.mkdir(mode=0o700)
    return folder


def _lock(folder: Path, *, own: bool = False) -> int | None:
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
        held = True
    except OSError as error:
        held = own and not isinstance(error, BlockingIOError)
    with suppress(OSError):
        if held and (folder / _LOCK).stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    os.close(descriptor)
    return None


def _open_lock(folder: Path) -> int:
    """Open a folder's lock; never that of a folder which a link leads to, nor one that is a link or a pipe."""
    above = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        how = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.open(_LOCK, how, 0o600, dir_fd=above)
    finally:
        os.close(above)


def _remove(folder: Path) -> None:
    for link in folder.glob(f"{_OUTSIDE}*"):
        with suppress(OSError):
            left = link.readlink()
            _remove_tree(left) if left.is_dir() and not left.is_symlink() else left.unlink(missing_ok=True)
    _remove_tree(folder)


def _remove_own(scratch: Path) -> None:
    process, folder, descriptor = _own.pop(scratch, (0, scratch, -1))
    if process == os.getpid():
        with suppress(OSError):
            os.close(descriptor)
        _remove_tree(folder)


def _remove_tree(folder: Path) -> None:
    import shutil  # only now: what finds nothing to do does not wait for it

    shutil.rmtree(folder, ignore_errors=True)
