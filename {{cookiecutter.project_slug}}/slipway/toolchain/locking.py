"""One install or start at a time: a file lock, which the system lets go of however its holder ends."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(lock: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file for the time of a `with`; `wait` is called once when somebody else has it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
