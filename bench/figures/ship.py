"""The gate with ten services: with nothing changed, and with all ten changed as a ratio to their longest chain."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.gate import database

from bench.ground import PLAIN, Bench, invoke, invoke_seconds
from bench.measure import Limit, Row, Times, in_turn, ratio_row
from bench.process import Failed, end, run, start
from bench.trees import INVOKE

TITLE = "The gate, ten services"
ABOUT = (
    "The longest chain is the sum of the steps of the slowest service, as the command's own "
    "progress shows them. Near 1, the services' steps overlap; at ten, they would run one after"
    " the other. The gate needs a current vulnerability database; where Trivy's cannot be had, "
    "it gets the tests' small one."
)
KINDS = ("python-api", "node-web", "worker")
SERVICES = 10
CHANGES = 3
LAST_BEFORE_PUSH, LAST = "passed", "signed"
STEPS = ("building", "testing", "scanning", "pushing", "attesting")
NOTHING, CHANGED, CHAIN = (
    "invoke ship, nothing changed",
    "invoke ship, ten changed",
    "ten changed to their longest chain",
)


def rows(bench: Bench) -> Iterator[Row]:
    """Ship once, then measure a ship with nothing to do, and ships of ten changed services."""
    workspace = bench.workspace("ship", services="demo")
    for number in range(SERVICES - len(services(workspace))):
        invoke(workspace, "new", f"more{number}", "--kind", KINDS[number % len(KINDS)])
    bench.set_up(workspace)
    commit(workspace)
    bench.say("shipping ten services once")
    note = first_ship(bench, workspace)
    bench.say("shipping ten services")
    again = in_turn({"ship": partial(invoke_seconds, workspace, "ship", "--stack", "staging")}, bench.runs)["ship"]
    yield again.row("ship", NOTHING, limit=Limit(2.0), note=note)
    walls, longest = Times(), []
    for number in range(CHANGES):
        change(workspace, number)
        wall, chain = shipped(workspace)
        walls.seconds.append(wall)
        longest.append(chain)
    yield walls.row("ship", CHANGED, note=note)
    yield ratio_row("ship", CHAIN, walls.seconds, longest, Limit(1.3))


def commit(workspace: Path) -> None:
    """Put a workspace into a repository of its own: nothing is signed that is of no commit."""
    who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "Generated")):
        run(["git", *who, *words], workspace)


def first_ship(bench: Bench, workspace: Path) -> str:
    """Ship everything once; where Trivy's own database cannot be had, with a small one. Return what to know of that."""
    try:
        invoke(workspace, "ship", "--stack", "staging")
    except Failed as error:
        if "database" not in str(error):
            raise
    else:
        return ""
    before = os.environ.get("TRIVY_CACHE_DIR")
    os.environ["TRIVY_CACHE_DIR"] = str(database.make(bench.place("trivy"), [database.Advisory("CVE-2026-1", "none")]))
    bench.ending.callback(restore, "TRIVY_CACHE_DIR", before)
    invoke(workspace, "ship", "--stack", "staging")
    return "with the tests' small vulnerability database: Trivy's own cannot be downloaded here"


def restore(name: str, before: str | None) -> None:
    """Give an environment variable the value that it had before."""
    os.environ.pop(name)
    if before is not None:
        os.environ[name] = before


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
    child = start([INVOKE, "ship", "--stack", "staging"], workspace, {**PLAIN, "PYTHONUNBUFFERED": "1"})
    first: dict[str, float] = {}
    chains: dict[str, float] = defaultdict(float)
    output = []
    assert child.stdout is not None
    try:
        for line in child.stdout:
            output.append(line)
            service, _, state = line.strip().partition(" ")
            state = state.strip()
            now = time.monotonic() - began
            if state in (LAST_BEFORE_PUSH, LAST):
                chains[service] += now - first.pop(service)
            elif state in STEPS:
                first.setdefault(service, now)
        if child.wait():
            raise Failed("invoke ship failed", "".join(output))
    finally:
        end(child)
    return time.monotonic() - began, max(chains.values())
