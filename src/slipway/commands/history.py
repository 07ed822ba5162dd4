"""BuildKit's own records of builds, as buildx shows them: the commands, and the record of a service's failed build."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path


def failed(buildx: Path, builder: str) -> list[str]:
    """Return the command that lists builds that failed, one JSON object a line, the newest first."""
    words = ["history", "ls", f"--builder={builder}", "--filter=status=error", "--format=json"]
    return [str(buildx), *words]


def ended(buildx: Path, builder: str) -> list[str]:
    """Return the command that lists all builds, one JSON object a line, the newest first."""
    return [str(buildx), "history", "ls", f"--builder={builder}", "--format=json"]


def endings(lines: Iterable[str], since: datetime) -> dict[str, datetime]:
    """Return when builds ended that began after a moment and are over: the newest of each name.

    Args:
        lines: what the command `ended` printed.
        since: the moment before which builds are somebody else's.
    """
    found: dict[str, datetime] = {}
    for line in lines:
        try:
            told = json.loads(line)
            if datetime.fromisoformat(told["created_at"]) >= since:
                running = told["status"] == "Running"
                when = datetime.max.replace(tzinfo=UTC) if running else datetime.fromisoformat(told["completed_at"])
                found.setdefault(str(told["name"]), when)
        except (ValueError, KeyError, TypeError):
            continue
    return {name: when for name, when in found.items() if when.year < datetime.max.year}


def of_service(found: Mapping[str, datetime], service: str) -> datetime | None:
    """Return when a service's build ended; None where it is not among those found."""
    return next((when for name, when in found.items() if _named(service).fullmatch(name)), None)


def _named(service: str) -> re.Pattern[str]:
    """Return what a service's record is called, after the folder that was built: `api (run)`, `services/api (run)`."""
    return re.compile(rf"(.*/)?{re.escape(service)}( \(.*\))?")


def logs(buildx: Path, builder: str, record: str) -> list[str]:
    """Return the command that prints a build's whole log."""
    return [str(buildx), "history", "logs", f"--builder={builder}", "--progress=plain", record]


def newest(lines: Iterable[str], service: str, since: datetime) -> str | None:
    """Return the record of the newest failed build of a service, or None.

    Args:
        lines: what the command `failed` printed.
        service: its folder's name.
        since: the moment before which builds are somebody else's.
    """
    named = _named(service)
    for line in lines:
        try:
            found = json.loads(line)
            began = datetime.fromisoformat(found["created_at"])
            if named.fullmatch(found["name"]) and began >= since:
                return str(found["ref"]).rpartition("/")[2]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return None
