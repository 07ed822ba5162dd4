"""BuildKit's own records of builds, as buildx shows them: the commands, and the record of a service's failed build."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path


def list_failed_builds(buildx: Path, builder: str) -> list[str]:
    """Return the command that lists builds that failed, one JSON object a line, the newest first."""
    words = ["history", "ls", f"--builder={builder}", "--filter=status=error", "--format=json"]
    return [str(buildx), *words]


def list_builds(buildx: Path, builder: str) -> list[str]:
    """Return the command that lists all builds, one JSON object a line, the newest first."""
    return [str(buildx), "history", "ls", f"--builder={builder}", "--format=json"]


def parse_completion_times(lines: Iterable[str], since: datetime) -> dict[str, datetime]:
    """Return when builds ended that began after a moment and are over: the newest of each name.

    Args:
        lines: what the command `list_builds` printed.
        since: the moment before which builds are somebody else's.
    """
    completed: dict[str, datetime] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            if datetime.fromisoformat(entry["created_at"]) >= since:
                running = entry["status"] == "Running"
                when = datetime.max.replace(tzinfo=UTC) if running else datetime.fromisoformat(entry["completed_at"])
                completed.setdefault(str(entry["name"]), when)
        except (ValueError, KeyError, TypeError):
            continue
    return {name: when for name, when in completed.items() if when.year < datetime.max.year}


def find_completion_time(found: Mapping[str, datetime], service: str) -> datetime | None:
    """Return when a service's build ended; None where it is not among those found."""
    return next((when for name, when in found.items() if _record_pattern(service).fullmatch(name)), None)


def _record_pattern(service: str) -> re.Pattern[str]:
    """Return what a service's record is called, after the folder that was built: `api (run)`, `services/api (run)`."""
    return re.compile(rf"(.*/)?{re.escape(service)}( \(.*\))?")


def show_build_log(buildx: Path, builder: str, record: str) -> list[str]:
    """Return the command that prints a build's whole log."""
    return [str(buildx), "history", "logs", f"--builder={builder}", "--progress=plain", record]


def find_newest_failure(lines: Iterable[str], service: str, since: datetime) -> str | None:
    """Return the record of the newest failed build of a service, or None.

    Args:
        lines: what the command `list_failed_builds` printed.
        service: its folder's name.
        since: the moment before which builds are somebody else's.
    """
    pattern = _record_pattern(service)
    for line in lines:
        try:
            entry = json.loads(line)
            began = datetime.fromisoformat(entry["created_at"])
            if pattern.fullmatch(entry["name"]) and began >= since:
                return str(entry["ref"]).rpartition("/")[2]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return None
