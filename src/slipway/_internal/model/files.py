"""Reads ordinary files up to a size limit, and writes atomically: a reader sees the old text or the new one."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from slipway._internal.model import scratch
from slipway._internal.model.errors import SlipwayError

PRIVATE_MODE = 0o600
"""The mode of logs, records and reports: programs may print what other users must not see."""
MEGABYTE = 1_000_000
MAX_STATE_BYTES = 200 * MEGABYTE
"""The size limit, in bytes, of files that Slipway itself wrote."""
UNKNOWN_SYSTEM = "new"
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota of disk space is used up",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk reports an error",
    errno.EACCES: "you lack permission to write there",
    errno.EPERM: "you lack permission to write there",
    errno.ENAMETOOLONG: "the path is too long",
    errno.EMFILE: "this process has too many open files",
    errno.ENFILE: "the machine has too many open files",
    errno.ESTALE: "the network file system no longer has it",
    errno.ENODEV: "the device is gone",
    errno.ENXIO: "the device is gone",
    errno.ENOTDIR: "a file is where a folder should be",
    errno.EISDIR: "a folder is where a file should be",
    errno.ELOOP: "a link there points to itself",
    errno.EFBIG: "the file would be larger than is allowed",
}
"""What a system's error about a path means, in words."""
write_failures: list[str] = []
"""Logs, records and caches that this process could not write; the verb names them at its end."""


class WriteError(SlipwayError, OSError):
    """A file could not be written: the disk is full, read-only or damaged."""


def read_bytes(path: Path, limit: int) -> bytes:
    """Return what an ordinary file holds.

    Args:
        path: the file; a link is followed.
        limit: bytes that it may have at most.

    Raises:
        OSError: it is missing, a folder, a pipe or a device, has more bytes, or cannot be read. Nothing is waited for.
    """
    descriptor = os.open(path, _READ_FLAGS)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not an ordinary file", str(path))
        parts: list[bytes] = []
        left = limit + 1
        while left > 0 and (part := os.read(descriptor, min(left, max(status.st_size + 1, 4096)))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    if left <= 0:
        raise OSError(errno.EFBIG, f"it is larger than {format_megabytes(limit)}", str(path))
    return b"".join(parts)


def write_atomically(path: Path, text: str | bytes, *, mode: int = 0o644) -> None:
    """Write text, or bytes as they are, to a temporary file and rename it to path; parents are made as needed.

    In a workspace that file is among the process's temporary ones, which do not outlive it.

    Raises:
        WriteError: the folder takes no file; the old text is still there.
    """
    with disk_errors(path):
        path.parent.mkdir(mode=0o700 if mode == PRIVATE_MODE else 0o777, parents=True, exist_ok=True)
        new = _temporary_path(path)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode() if isinstance(text, str) else text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


def write_best_effort(path: Path, text: str, *, mode: int = 0o644) -> bool:
    """Write a record, a log or a cache. A failure is reported at the verb's end and does not fail the work."""
    try:
        write_atomically(path, text, mode=mode)
    except WriteError as error:
        note_write_failure(error)
        return False
    return True


def note_write_failure(error: OSError) -> None:
    """Have the verb report at its end, once, that something could not be written."""
    what = (error if isinstance(error, WriteError) else write_error(error)).message
    if what not in write_failures:
        write_failures.append(what)


def open_private(path: Path, mode: str = "a") -> LogFile:
    """Open a text file that only this user may read, to write (`w`) or add (`a`) to it; parents are made as needed.

    For logs: a full disk is reported at the verb's end and does not fail the work.
    """
    return LogFile(path, mode)


class LogFile:
    """A log that ends early when the disk is full."""

    def __init__(self, path: Path, mode: str = "a") -> None:
        self._file: IO[str] | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = open(  # noqa: SIM115 - it is closed by `close`
                path, mode, encoding="utf-8", errors="replace", opener=_open_private
            )
        except OSError as error:
            note_write_failure(write_error(error, path))
        self._path = path

    def write(self, text: str) -> None:
        """Add a text; if the disk is full, the log ends here."""
        try:
            if self._file:
                self._file.write(text)
                self._file.flush()
        except OSError as error:
            note_write_failure(write_error(error, self._path))
            self.close()

    def flush(self) -> None:
        """Do nothing: each text is flushed."""

    def close(self) -> None:
        file, self._file = self._file, None
        with suppress(OSError):
            if file:
                file.close()

    def __enter__(self) -> LogFile:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _open_private(name: str, flags: int) -> int:
    descriptor = os.open(name, flags, PRIVATE_MODE)
    os.fchmod(descriptor, PRIVATE_MODE)  # it may be there already, with another mode
    return descriptor


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Replace a system's error, raised in a `with` that writes to path, by one that says what to do.

    Raises:
        WriteError: in place of OSError.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise write_error(error, path) from error


def is_disk_error(error: OSError) -> bool:
    """Whether an error is the file system's, and not a program's or the network's."""
    return error.errno in _DISK_ERRORS and (error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT))


def write_error(error: OSError, path: Path | None = None) -> WriteError:
    """Return the error for a path that the system would not write: why, how much is free, and the remedy."""
    path = path or Path(os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ".")
    why = _DISK_ERRORS.get(error.errno or 0, error.strerror or type(error).__name__)
    return WriteError(f"{path} cannot be written: {why}{_free_space(path, error)}", remedy=_write_remedy(path, error))


def free_bytes(path: Path) -> int | None:
    """Return how many bytes the file system of a path, or of the nearest folder above it, has left for this user."""
    for folder in (path, *path.absolute().parents):
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            continue
    return None


def format_megabytes(count: float) -> str:
    """Return bytes for a reader: `3.2 MB`."""
    return f"{count / MEGABYTE:,.1f} MB" if count < 100 * MEGABYTE else f"{count / MEGABYTE:,.0f} MB"


def _free_space(path: Path, error: OSError) -> str:
    free = free_bytes(path) if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
    return "" if free is None else f" ({format_megabytes(free)} are free in {_nearest_folder(path)})"


def _nearest_folder(path: Path) -> Path:
    return next((folder for folder in path.absolute().parents if folder.is_dir()), Path("/"))


def _write_remedy(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "Free some space and run it again: `invoke prune` removes images that nothing needs any more; "
            f"`df -h {_nearest_folder(path)}` and `df -i` show what is used."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"Check that {_nearest_folder(path)} belongs to you and is not mounted read-only (`ls -ld`, `findmnt -T`)."
        )
    if error.errno == errno.ENAMETOOLONG:
        return "Move the workspace to a shorter path, or shorten the name."
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
        return f"Remove or rename what is in the way at {path}."
    return f"Check that {_nearest_folder(path)} can be written to, and run it again."


def _temporary_path(path: Path) -> Path:
    """Return a path for the new text: on the same device, for only from there it can be renamed."""
    if above := scratch.find_scratch(path):
        with suppress(OSError):  # the scratch folder may be full or read-only while the file's own is not
            new = scratch.process_folder(above) / f"{path.name[:180]}.{os.urandom(4).hex()}"
            if new.parent.stat().st_dev == path.parent.stat().st_dev:
                return new
    _remove_stale_temporaries(path)
    return path.with_name(f".{path.name[:180]}.{os.getpid()}.{_system_id()}")


def _remove_stale_temporaries(path: Path) -> None:
    """Remove what killed processes of this system left beside a path."""
    system = _system_id()
    for stale in path.parent.glob(f".{glob.escape(path.name[:180])}.[0-9]*.{system}"):
        process = stale.name.split(".")[-2]
        if system != UNKNOWN_SYSTEM and process.isdigit() and not Path("/proc", process).exists():
            with suppress(OSError):
                stale.unlink()


def _system_id() -> str:
    """Return what distinguishes this system's processes from another's with the same ids: machines or
    containers may share a folder; `UNKNOWN_SYSTEM` where nothing does."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return f"{zlib.crc32(f'{boot}{_PID_NAMESPACE.readlink()}'.encode()):08x}"
    except (OSError, ValueError):
        return UNKNOWN_SYSTEM
