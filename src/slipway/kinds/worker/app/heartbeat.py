"""The sign of life: a file that each turn touches and that the container's health check looks at."""

from __future__ import annotations

import time
from pathlib import Path

FILE = Path("/tmp/heartbeat")  # noqa: S108  the container's only writable folder


def beat(file: Path = FILE) -> None:
    """Say that a turn is done."""
    file.touch()


def age(file: Path = FILE) -> float:
    """Return how many seconds ago the last turn ended; infinite before the first."""
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
