"""Takes files out of a tool's archive: regular files alone, of bounded size, and for this machine's processor."""

from __future__ import annotations

import gzip
import io
import platform
import tarfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from slipway._internal.toolchain.installed_tools import ToolUnavailable

CHUNK_BYTES = 1 << 20
MAX_FILE_BYTES, MAX_ARCHIVE_BYTES = 600 << 20, 2 << 30
ELF_MAGIC = b"\x7fELF"
ELF_MACHINES = {"x86_64": 62, "amd64": 62, "aarch64": 183, "arm64": 183}
"""ELF's numbers for the processors that tools are had for."""


class _BoundedReader(io.RawIOBase):
    """What a compressed file holds, up to a limit: a few kilobytes may unpack to all of a disk."""

    def __init__(self, file: gzip.GzipFile, limit: int) -> None:
        self._file, self._left = file, limit

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found = self._file.read(min(size, CHUNK_BYTES) if size >= 0 else CHUNK_BYTES)
        self._left -= len(found)
        if self._left < 0:
            raise ToolUnavailable(f"release: the archive unpacks to more than {MAX_ARCHIVE_BYTES >> 20} MB")
        return found


def unpack_members(archive: Path, wanted: Mapping[str, Path], optional: Collection[str]) -> None:
    """Take members out of a .tar.gz.

    Args:
        archive: the file.
        wanted: a member's path → where its bytes go.
        optional: the names of targets whose member may be missing.

    Raises:
        ToolUnavailable: the archive is incomplete, or a member is missing or not allowed.
    """
    extracted: set[str] = set()
    try:
        with gzip.open(archive) as compressed:
            content = _BoundedReader(compressed, MAX_ARCHIVE_BYTES)
            with tarfile.open(fileobj=content, mode="r|") as tar:
                for member in tar:
                    name = _safe_member_path(member)
                    if name in wanted:
                        if name in extracted or not member.isreg() or member.issparse():
                            raise ToolUnavailable(
                                f"release: {name} in the archive appears twice, or is not a regular file"
                            )
                        extracted.add(name)
                        _extract_member(tar, member, wanted[name])
            while content.read(CHUNK_BYTES):  # to its end, where its own checksum is
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
        raise ToolUnavailable(f"release: {archive.name} is not a complete .tar.gz: {error}") from error
    missing = [name for name, target in wanted.items() if name not in extracted and target.name not in optional]
    if missing:
        raise ToolUnavailable(f"release: the archive holds no {missing[0]}")


def _safe_member_path(member: tarfile.TarInfo) -> str:
    """Return a member's path, as `a/b`; one that leads out of the archive says that somebody means ill."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise ToolUnavailable(f"release: the archive holds {member.name!r}, which points outside it")
    return str(path)


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = tar.extractfile(member)
    if source is None or member.size > MAX_FILE_BYTES:
        raise ToolUnavailable(f"release: {member.name} in the archive is larger than {MAX_FILE_BYTES >> 20} MB")
    with source, target.open("wb") as file:
        while chunk := source.read(CHUNK_BYTES):
            file.write(chunk)
    if target.stat().st_size != member.size:
        raise ToolUnavailable(f"release: {member.name} in the archive is cut short")


def require_native(file: Path) -> None:
    """See that a program is for this machine; scripts and other files may be there, too.

    Raises:
        ToolUnavailable: it is for another processor.
    """
    with file.open("rb") as stream:
        head = stream.read(20)
    wanted = ELF_MACHINES.get(platform.machine().lower())
    if head.startswith(ELF_MAGIC) and wanted and int.from_bytes(head[18:20], "little") != wanted:
        raise ToolUnavailable(f"release: {file.name} is for another processor than {platform.machine()}")
