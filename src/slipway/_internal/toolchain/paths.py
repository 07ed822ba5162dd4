"""Slipway's folders on this machine: cached tools, and the state of its daemons."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from slipway._internal.model.errors import SlipwayError

SOCKET_LIMIT = 100  # bytes; the kernel ends a unix socket's path at 108
PRIVATE_MODE = 0o700


def cache_path() -> Path:
    """Return the folder of what can be had again, and of temporary files (`XDG_CACHE_HOME` is honoured)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway"


def tools_path() -> Path:
    """Return the folder of cached tools: TOOL/VERSION/BINARY below it."""
    return cache_path() / "tools"


def state_path(name: str) -> Path:
    """Return the folder of one daemon's pid, log, configuration and data (`XDG_STATE_HOME` is honoured)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "slipway" / name


def make_private(folder: Path) -> Path:
    """Make a folder that only this user may enter, close one that others may, and return it.

    Raises:
        SlipwayError: it is another user's, who could change what is in it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_MODE)
    folder_status = folder.stat()
    if folder_status.st_uid != os.geteuid() and os.geteuid() != 0:
        raise SlipwayError(
            f"{folder} belongs to another user (number {folder_status.st_uid})", remedy="Remove it, or ask them to."
        )
    if folder_status.st_uid == os.geteuid() and stat.S_IMODE(folder_status.st_mode) & 0o077:
        folder.chmod(PRIVATE_MODE)
    return folder


def restrict_state_folder() -> None:
    """See that nobody else may enter the folder that has the state of all that Slipway runs here."""
    with suppress(OSError):  # a file system that knows no modes
        make_private(state_path(""))


def socket_path(preferred: Path) -> Path:
    """Return where a unix socket is put: as wanted, or in a short folder where that path is too long for a socket."""
    if len(os.fsencode(preferred)) <= SOCKET_LIMIT:
        return preferred
    digest = hashlib.sha256(os.fsencode(preferred)).hexdigest()[:12]
    runtime = Path("/run") if os.access("/run", os.W_OK) else Path(tempfile.gettempdir())
    return runtime / f"slipway-{digest}" / preferred.name
