"""Commands for the builder's cache, and reading what they print."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_DAYS = {"hour": 1 / 24, "day": 1, "week": 7, "month": 30, "year": 365}
_IDLE_TIME = re.compile(r"(\d+) (hour|day|week|month|year)s? ago")
_SIZE = re.compile(r"([0-9.]+)\s*([kmgt]?i?b)", re.IGNORECASE)


def list_cache(buildx: Path, builder: str) -> list[str]:
    """Return the command that lists the cache, an object of JSON in a line."""
    return [str(buildx), "--builder", builder, "du", "--format", "json"]


def prune(buildx: Path, builder: str, days: int) -> list[str]:
    """Return the command that removes what was not used for some days."""
    return [str(buildx), "--builder", builder, "prune", "--force", "--filter", f"until={days * 24}h"]


def parse_reclaimable_bytes(lines: Iterable[str], days: int) -> int:
    """Return how many bytes of a listing were not used for some days; about so, as it rounds its times."""
    total = 0
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if (
            isinstance(entry, dict)
            and entry.get("Reclaimable")
            and parse_idle_days(str(entry.get("LastUsedAt"))) >= days
        ):
            total += parse_size(str(entry.get("Size", "")))
    return total


def parse_idle_days(text: str) -> float:
    """Return the days in a time such as `3 weeks ago`; 0 for what is shorter than an hour."""
    found = _IDLE_TIME.search(text)
    return int(found[1]) * _DAYS[found[2]] if found else 0


def parse_freed_bytes(output: str) -> int:
    """Return how many bytes a removal says that it gave back: its last line begins with `Total`."""
    return next((parse_size(line) for line in reversed(output.splitlines()) if line.startswith("Total")), 0)


def parse_size(text: str) -> int:
    """Return the first size in a text (`268.5MB`) in bytes; 0 where there is none."""
    found = _SIZE.search(text)
    return round(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
