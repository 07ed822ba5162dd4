"""File locks for one install or start at a time; the system releases them however their holder ends."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from slipway._internal.model.errors import SlipwayError

TAKEN = {errno.EWOULDBLOCK, errno.EACCES}
"""How a system says that somebody else has a lock."""


@contextmanager
def file_lock(lock: Path, wait: Callable[[], None], *, shared: bool = False) -> Iterator[int]:
    """Hold a lock file for the time of a `with`; `wait` is called once when somebody else has it.

    Yields:
        The descriptor that holds it. A child that gets it (`hold` of `run`) holds it as well: where this process is
        killed, the lock is free only when the child is gone, too. For children that change what the lock is about.

    Raises:
        SlipwayError: the file system has no locks.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        if not try_lock(file, shared=shared):
            wait()
            try_lock(file, shared=shared, block=True)
        yield file.fileno()


def try_lock(file: IO[Any], *, shared: bool = False, block: bool = False) -> bool:
    """Lock a file that is open; return whether nobody else has it. The lock goes when the file is closed.

    Raises:
        SlipwayError: the file system has no locks.
    """
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, operation if block else operation | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN and not block:
            return False
        raise SlipwayError(
            f"{file.name} cannot be locked: {error.strerror}",
            remedy="Its file system has no locks. Keep the workspace, and the folders that XDG_CACHE_HOME and "
            "XDG_STATE_HOME name (~/.cache and ~/.local/state without them), on one that does.",
        ) from error
    return True
