"""How fast the gate is with ten services: `python bench/ship.py`.

Needs what `invoke ship` needs (a vulnerability database: TRIVY_CACHE_DIR names another than Trivy's own), and makes a
workspace of its own. Two figures: a ship with nothing changed, in seconds; and a ship of ten changed services as a
ratio to its longest chain, which is the sum of the steps of the service that took longest, as its own progress tells
them. Near 1 the services' steps overlap; ten would be one after the other.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from speed import COOKIECUTTER, INVOKE, ROOT, median, run, run_in, seconds

KINDS = ("python-api", "node-web", "worker")
SERVICES = 10
CHANGES = 3
LAST_BEFORE_PUSH, LAST = "passed", "signed"


def main() -> None:
    """Measure both and print them, each with its limit."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name:
        workspace = ten_services(Path(name))
        run(workspace, "ship", "--stack", "staging")
        again = median(lambda: seconds(run, workspace, "ship", "--stack", "staging"))
        print(f"ship, nothing changed  {again:6.2f} s   at most 2")
        walls, ratios = [], []
        for number in range(CHANGES):
            change(workspace, number)
            wall, longest = shipped(workspace)
            walls.append(wall)
            ratios.append(wall / longest)
        print(f"ship, ten changed      {statistics.median(walls):6.2f} s")
        print(f"  to its longest chain {statistics.median(ratios):6.2f}     at most 1.3")


def ten_services(folder: Path) -> Path:
    """Generate a workspace with ten services in turn of the three kinds, and set it up."""
    run_in(ROOT, [COOKIECUTTER, str(ROOT), "--no-input", "--output-dir", str(folder), "project_slug=bench"])
    workspace = folder / "bench"
    for number in range(SERVICES - len(services(workspace))):
        run(workspace, "new", f"more{number}", "--kind", KINDS[number % len(KINDS)])
    run(workspace, "setup")
    return workspace


def services(workspace: Path) -> list[Path]:
    """Return the services' folders."""
    return [file.parent for file in (workspace / "services").glob("*/service.toml")]


def change(workspace: Path, number: int) -> None:
    """Change a file of every service that is part of its image and that its tests do not look at."""
    for service in services(workspace):
        (service / "app" / "bench.txt").write_text(f"{number} {time.time_ns()}\n", encoding="utf-8")


def shipped(workspace: Path) -> tuple[float, float]:
    """Ship, and return its seconds and those of its longest chain: each service's steps, without waiting for others."""
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-u", INVOKE, "ship", "--stack", "staging"],
        cwd=workspace,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    first: dict[str, float] = {}
    chains: dict[str, float] = defaultdict(float)
    output = []
    assert child.stdout is not None
    for line in child.stdout:
        output.append(line)
        service, _, state = line.strip().partition(" ")
        state = state.strip()
        now = time.monotonic() - began
        if state in (LAST_BEFORE_PUSH, LAST):
            chains[service] += now - first.pop(service)
        elif state in ("building", "testing", "scanning", "pushing", "attesting"):
            first.setdefault(service, now)
    if child.wait():
        raise SystemExit(f"ship failed:\n{''.join(output)}")
    return time.monotonic() - began, max(chains.values())


if __name__ == "__main__":
    main()
