"""Caches file metadata; unchanged files are not hashed again.

A file or folder is as it was when its size, both its times in nanoseconds, its inode and its device are. Whatever is
done to it (a write, a rename, another mode or attribute, an entry more) moves its time of change to the clock's, and
no program can set that one. So only a second change within one tick of the clock could go unseen, or one under
another clock. Hence what was changed less than SETTLED before the reading began, by the file system's own clock, is
not believed but read again the next time (git calls it racily clean), and so is what lies on another device.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from slipway._internal.model.scratch import process_folder

SETTLE_NANOSECONDS = 2 * 10**9  # nanoseconds: the coarsest clock that a file system keeps times by

FileStat = tuple[int, int, int, int, int]
"""Size, time of modification, time of change (both in nanoseconds since 1970), inode, device."""
StatIndex = dict[str, tuple[FileStat, str | None]]
"""Path (a folder's with a slash at its end) → its status, and the fingerprint of what it is in a context."""


def stat_of(status: os.stat_result) -> FileStat:
    """Return what is compared of a status."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


@dataclass(frozen=True)
class FilesystemClock:
    """The moment at which a reading begins, in nanoseconds, by the clock of the device that files lie on."""

    now: int
    device: int

    @classmethod
    def read(cls, folder: Path) -> FilesystemClock:
        """Return the present moment by the file system of a folder, which is made: a file is written in it.

        On a full or read-only disk the clock trusts no record.
        """
        try:
            return cls._read(folder)
        except OSError:
            return cls(0, -1)

    @classmethod
    def _read(cls, folder: Path) -> FilesystemClock:
        file = process_folder(folder) / "clock"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, b"now")
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
            file.unlink(missing_ok=True)
        return cls(status.st_ctime_ns, status.st_dev)

    def is_settled(self, found: FileStat) -> bool:
        """Whether a change after this moment is sure to show in the status."""
        return found[2] < self.now - SETTLE_NANOSECONDS and found[4] == self.device


@dataclass
class StatCache:
    """The status of files and folders from an earlier scan, and what this scan records.

    Attributes:
        clock: when this reading began.
        before: what the earlier reading found.
        seen: what this one came by, believed or not.
    """

    clock: FilesystemClock
    previous: StatIndex = field(default_factory=dict)
    current: StatIndex = field(default_factory=dict)

    def fingerprint(self, path: str, status: FileStat) -> str | None:
        """Return an unchanged file's fingerprint; None if it must be read."""
        entry = self.previous.get(path)
        return entry[1] if entry and entry[0] == status else None

    def record(self, path: str, status: FileStat, fingerprint: str | None = None) -> None:
        """Record an entry; its status must be from before it was read."""
        if self.current.get(path, (status, None))[0] != ALWAYS_STALE:
            self.current[path] = (status, fingerprint)

    def record_path(self, path: Path) -> None:
        """Record the status of a file, a folder or a missing path before it is read.

        A link is never trusted: its target may change without it.
        """
        name = str(path)
        try:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode) and path.is_dir():
                status = path.stat()
        except OSError:
            self.current[name] = (ABSENT, None)
            return
        if stat.S_ISDIR(status.st_mode):
            self.current.setdefault(f"{name}/", (stat_of(status), None))
        elif stat.S_ISLNK(status.st_mode):
            self.current[name] = (ALWAYS_STALE, None)
        else:
            self.current.setdefault(name, (stat_of(status), None))

    def settled(self) -> StatIndex:
        """Return the records of this scan that the next one may trust."""
        return {
            path: entry for path, entry in self.current.items() if entry[0] == ABSENT or self.clock.is_settled(entry[0])
        }

    @property
    def complete(self) -> bool:
        """Whether the next scan may trust every record."""
        return len(self.settled()) == len(self.current)


ABSENT: FileStat = (-1, 0, 0, 0, 0)
"""In place of a status: the path is missing."""
ALWAYS_STALE: FileStat = (-2, 0, 0, 0, -1)
"""In place of a status: to be read every time."""


def is_unchanged(path: str, before: FileStat) -> bool:
    """Whether a file, or a folder with a slash at its end, is unchanged."""
    try:
        status = os.lstat(path)
    except OSError:
        return before == ABSENT
    return stat_of(status) == before
