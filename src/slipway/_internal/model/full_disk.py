"""Tells from a program's own words that it found a disk full, and says what to do about a full volume."""

from __future__ import annotations

import re
from collections.abc import Sequence

DISK_FULL = re.compile(r"no space left on device|ENOSPC|disk quota exceeded", re.IGNORECASE)


def is_disk_full(text: str) -> bool:
    """Whether a program says that a disk is full."""
    return DISK_FULL.search(text) is not None


def full_volume_remedy(volumes: Sequence[str]) -> str:
    """Return what to do about a full volume: one of these, by its name on the engine or cluster."""
    names = " and ".join(volumes)
    return (
        f"Make room in {names}, or on the disk below: `docker volume inspect {volumes[0]}` shows where it is, `docker "
        "system df -v` what takes space. On Kubernetes, raise `size` where the storage class can expand. Then run it "
        "again."
    )
