"""BuildKit's own records of builds, as buildx shows them: the commands, and the record of a service's failed build."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path


def failed(buildx: Path, builder: str) -> list[str]:
    """Return the command that lists builds that failed, one JSON object a line, the newest first."""
    words = ["history", "ls", f"--builder={builder}", "--filter=status=error", "--format=json"]
    return [str(buildx), *words]


def logs(buildx: Path, builder: str, record: str) -> list[str]:
    """Return the command that prints a build's whole log."""
    return [str(buildx), "history", "logs", f"--builder={builder}", "--progress=plain", record]


def newest(lines: Iterable[str], service: str, since: datetime) -> str | None:
    """Return the record of the newest failed build of a service, or None.

    A record is named by the folder that was built, `api (run)` or `services/api (run)`.

    Args:
        lines: what the command `failed` printed.
        service: its folder's name.
        since: the moment before which builds are somebody else's.
    """
    named = re.compile(rf"(.*/)?{re.escape(service)}( \(.*\))?")
    for line in lines:
        try:
            found = json.loads(line)
            began = datetime.fromisoformat(found["created_at"])
            if named.fullmatch(found["name"]) and began >= since:
                return str(found["ref"]).rpartition("/")[2]
        except (ValueError, KeyError, TypeError):
            continue
    return None
