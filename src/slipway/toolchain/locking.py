"""One install or start at a time: a file lock, which the system lets go of however its holder ends."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_lock(lock: Path, wait: Callable[[], None]) -> Iterator[int]:
    """Hold a lock file for the time of a `with`; `wait` is called once when somebody else has it.

    Yields:
        The descriptor that holds it. A child that gets it (`hold` of `run`) holds it as well: where this process is
        killed, the lock is free only when the child is gone, too. For children that change what the lock is about.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
