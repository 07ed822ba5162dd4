"""The files of a context as BuildKit sends them: which ones, with what kind, mode, link and bytes.

What follows from how BuildKit reads a context, each held by a test against a real one:
- a link is sent as its text and never followed; the context's root itself may be a link;
- a folder is sent also when it is empty, and a folder that is left out comes back with a file that is taken
  back in;
- a hard link is sent as a file of its own; a socket as an empty file; a pipe or device as what it is;
- of permission bits, only those count that git keeps: whether a file's owner may run it. What the umask of a checkout
  made of the rest does not, nor do set-uid, set-gid and sticky; `mirror` gives BuildKit the same; a link has none;
- extended attributes count, but for `system.*` and `security.*` (a machine's labels), `security.capability`
  being kept.
"""

# ruff: noqa: PTH112, PTH115, PTH118
# Names are bytes here, not `Path`s, so that neither locale nor encoding changes what is seen; it is faster, too.

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from slipway._internal.content.context_paths import unreadable_error
from slipway._internal.content.dockerignore import Dockerignore, MatchState
from slipway._internal.content.stat_cache import FileStat, StatCache, stat_of
from slipway._internal.model.errors import ConfigError

EntryType = Literal["file", "folder", "link", "pipe", "device"]
CHUNK_BYTES = 1024 * 1024
FILE_MODE, EXECUTABLE_MODE = 0o644, 0o755
_ENTRY_TYPES: dict[int, EntryType] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFSOCK: "file",
    stat.S_IFIFO: "pipe",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_MACHINE_ATTRIBUTES = (b"security.", b"system.", b"com.apple.")
_MISSING_ERRNOS = (errno.ENOENT, errno.ENOTDIR)
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class ContextEntry:
    """One entry of a context.

    Attributes:
        path: relative to the context, `/` between its parts; bytes that are not UTF-8 as surrogates.
        kind: what it is for BuildKit.
        mode: permission bits as they are sent: 755 for folders and for files that their owner may run, else 644; 0 for
            a link.
        size: the bytes that its content had when it was seen; 0 for all but files.
        device: the number of a device, else 0.
        normal: whether the disk has it with this mode.
        seen: what the file system said of it.
    """

    path: str
    kind: EntryType
    mode: int
    size: int = 0
    device: int = 0
    normal: bool = field(default=True, compare=False, repr=False)
    status: FileStat = field(default=(0, 0, 0, 0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class _PendingFolder:
    """A folder still to be read: its path, the ignore state for its entries, and the ignored folders above them."""

    path: str
    state: MatchState
    above: tuple[ContextEntry, ...]
    left_out: bool
    status: FileStat


def walk(root: Path, ignore: Dockerignore | None = None, stat_cache: StatCache | None = None) -> list[ContextEntry]:
    """Return every entry of a context that BuildKit is sent, sorted by path.

    A folder that is left out is not read, unless an exception could take something in it back in. What
    vanishes meanwhile is taken as never there. The memory is told of each folder before it is read.

    Raises:
        ConfigError: root is not a folder, or something in it cannot be read.
    """
    rules = ignore or Dockerignore()
    top = os.fsencode(root)
    if not os.path.isdir(top):
        raise ConfigError(f"the build context {root} is not a folder", remedy="Correct the path, or make the folder.")
    found: dict[str, ContextEntry] = {}
    folders = [_PendingFolder("", (), (), left_out=False, status=stat_of(root.stat()))]
    while folders:
        folder = folders.pop()
        if stat_cache:
            stat_cache.record(f"{root}/{folder.path}", folder.status)
        for directory_entry in _scan_folder(top, folder):
            path = folder.path + directory_entry.name.decode("utf-8", "surrogateescape")
            out, state = rules.evaluate(path, folder.state) if rules.rules else (False, ())
            entering = directory_entry.is_dir(follow_symlinks=False)
            if out and not (entering and rules.may_hold_exceptions(path)):
                continue
            entry = _make_entry(path, directory_entry)
            if entry is None:
                continue
            if not out:
                found.update((parent.path, parent) for parent in folder.above)
                found[path] = entry
            if entering:
                above = (*folder.above, entry) if out else ()
                folders.append(_PendingFolder(f"{path}/", state, above, left_out=out, status=entry.status))
    return [found[path] for path in sorted(found)]


def fingerprint_tree(
    root: Path, ignore: Dockerignore | None = None, stat_cache: StatCache | None = None
) -> dict[str, str]:
    """Return the fingerprint of each thing that BuildKit would be sent of a context, by path, sorted.

    A fingerprint is the SHA-256, in hexadecimal, of these, each led by its length in eight bytes
    (big-endian): the kind, the mode in octal digits, the device's number, the number of extended attributes,
    the name and value of each; and then, without a length, a file's bytes or a link's text. What the memory knows, and
    is as it was, is not read.

    Raises:
        ConfigError: root is not a folder, or something in it cannot be read.
    """
    top = os.fsencode(root)
    found = {}
    for entry in walk(root, ignore, stat_cache):
        key = f"{root}/{entry.path}/" if entry.kind == "folder" else f"{root}/{entry.path}"
        fingerprint = stat_cache.fingerprint(key, entry.status) if stat_cache else None
        if fingerprint is None:
            full_path = os.path.join(top, entry.path.encode("utf-8", "surrogateescape"))
            try:
                fingerprint = _fingerprint_entry(full_path, entry)
            except OSError as error:
                if error.errno in _MISSING_ERRNOS:
                    continue
                raise unreadable_error(
                    root / os.fsdecode(entry.path.encode("utf-8", "surrogateescape")), error
                ) from error
        found[entry.path] = fingerprint
        if stat_cache:
            stat_cache.record(key, entry.status, fingerprint)
    return found


def frame(part: bytes) -> bytes:
    """Return the bytes led by their length, so that no two lists of parts give the same whole."""
    return len(part).to_bytes(8, "big") + part


def _scan_folder(top: bytes, folder: _PendingFolder) -> list[os.DirEntry[bytes]]:
    path = os.path.join(top, folder.path.encode("utf-8", "surrogateescape"))
    try:
        with os.scandir(path) as items:
            return list(items)
    except OSError as error:
        if error.errno in _MISSING_ERRNOS or (folder.left_out and error.errno == errno.EACCES):
            return []
        raise unreadable_error(os.fsdecode(path), error) from error


def _make_entry(path: str, directory_entry: os.DirEntry[bytes]) -> ContextEntry | None:
    try:
        status = directory_entry.stat(follow_symlinks=False)
    except OSError as error:
        if error.errno in _MISSING_ERRNOS:
            return None
        raise unreadable_error(os.fsdecode(directory_entry.path), error) from error
    kind = _ENTRY_TYPES.get(stat.S_IFMT(status.st_mode), "file")
    mode = _normal_mode(kind, status.st_mode)
    normal = kind == "link" or mode == stat.S_IMODE(status.st_mode)
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return ContextEntry(path, kind, mode, size, status.st_rdev if kind == "device" else 0, normal, stat_of(status))


def _normal_mode(kind: EntryType, mode: int) -> int:
    """Return the permission bits that git would give a file again, in a checkout with the usual umask."""
    if kind == "link":
        return 0
    return EXECUTABLE_MODE if kind == "folder" or (kind == "file" and mode & stat.S_IXUSR) else FILE_MODE


def _fingerprint_entry(path: bytes, entry: ContextEntry) -> str:
    attributes = _extended_attributes(path)
    digest = hashlib.sha256(_fingerprint_header(entry.kind, entry.mode, entry.device, len(attributes) // 2))
    for part in attributes:
        digest.update(frame(part))
    if entry.kind == "link":
        digest.update(os.readlink(path))
    elif entry.kind == "file":
        _hash_file(digest, path, entry.size)
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _fingerprint_header(kind: str, mode: int, device: int, attributes: int) -> bytes:
    return b"".join(frame(part) for part in (kind.encode(), b"%o" % mode, b"%d" % device, b"%d" % attributes))


def _hash_file(digest: hashlib._Hash, path: bytes, size: int) -> None:
    """Add a file's bytes; a small one takes one read."""
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket: BuildKit sends it as an empty file
            return
        raise
    try:
        part = os.read(descriptor, min(size + 1, CHUNK_BYTES))
        digest.update(part)
        if len(part) == size:
            return
        while part := os.read(descriptor, CHUNK_BYTES):
            digest.update(part)
    finally:
        os.close(descriptor)


def _extended_attributes(path: bytes) -> list[bytes]:
    """Return the names and values, alternating, of the extended attributes that count."""
    if not hasattr(os, "listxattr"):
        return []
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in _MISSING_ERRNOS:
            raise
        return []
    if not names:
        return []
    sorted_names = sorted(os.fsencode(name) for name in names)
    values = []
    for name in sorted_names:
        machines_own = name.startswith((b"security.", b"system.", b"com.apple.")) and name != b"security.capability"
        if not machines_own:
            values += [name, os.getxattr(path, name, follow_symlinks=False)]
    return values
