"""Reads text files that people write. Only the standard library is used, since the template needs it too."""

from __future__ import annotations

import codecs
from pathlib import Path

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.files import MEGABYTE, read_bytes

TEXT_LIMIT = MEGABYTE
"""The size limit, in bytes, of files that people write."""


def read_text(path: Path, *, limit: int = TEXT_LIMIT) -> str:
    """Return a UTF-8 file's text; ConfigError when it is missing, no ordinary file, too large, or not UTF-8."""
    try:
        return decode_text(read_bytes(path, limit))
    except FileNotFoundError as error:
        what = f"{path} is a link to something that is missing" if path.is_symlink() else f"{path} is missing"
        raise ConfigError(
            what,
            remedy="Restore it from git (`git checkout -- FILE`), or copy it from a workspace generated anew.",
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: this is not UTF-8 text", remedy="Save it as UTF-8.") from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            why_unreadable(path, error), remedy="Check what is there and who owns it (`ls -ld`)."
        ) from error


def decode_text(data: bytes) -> str:
    """Return UTF-8 as text with single line ends, without a byte order mark; UnicodeDecodeError where it is none."""
    return data.removeprefix(codecs.BOM_UTF8).decode().replace("\r\n", "\n").replace("\r", "\n")


def why_unreadable(path: Path, error: Exception) -> str:
    """Return a sentence about a file that could not be read."""
    if isinstance(error, FileNotFoundError) and not path.is_symlink():
        return f"{path} is missing"
    why = error.strerror if isinstance(error, OSError) else error
    return f"{path} cannot be read: {why}"
