"""results.json: what the bench printed, figure by figure, with the machine and the day of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.measure import Row, row_of


@dataclass(frozen=True)
class Results:
    """A run's rows on a machine. `days` says when each figure was measured, `quick` those of fewer runs."""

    machine: Mapping[str, str]
    rows: tuple[Row, ...]
    quick: bool = False
    days: Mapping[str, str] | None = None


def read(path: Path) -> Results:
    """Read results; none where there is no file yet."""
    data = _load(path)
    rows = tuple(row_of(row) for each in data["figures"].values() for row in each["rows"])
    days = {name: f"{each['day']}{' (quick)' if each['quick'] else ''}" for name, each in data["figures"].items()}
    return Results(data["machine"], rows, any(each["quick"] for each in data["figures"].values()), days)


def write(path: Path, new: Results) -> None:
    """Put a run's figures in the place of those that are in the file; the others stay, on the same machine only."""
    data = _load(path)
    if not same(data["machine"], new.machine):
        data["figures"] = {}
    data["machine"] = dict(new.machine)
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    for name in dict.fromkeys(row.figure for row in new.rows):
        rows = [row.as_dict() for row in new.rows if row.figure == name]
        data["figures"][name] = {"day": day, "quick": new.quick, "rows": rows}
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def same(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two sets of facts are of one machine: figures of different ones do not belong side by side."""
    return all(one.get(name) == other.get(name) for name in ("processor", "cores", "kernel", "file system"))


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {"machine": {}, "figures": {}}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
