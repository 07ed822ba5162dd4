"""Cold builds: everything is new to the builder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import trees
from bench.ground import Bench, invoke, invoke_seconds
from bench.measure import Limit, Row, Times, against, in_turn
from bench.process import seconds
from slipway.commands import bake
from slipway.content.service import inputs_of
from slipway.model import bases
from slipway.model.workspace import load

TITLE = "Cold builds"
ABOUT = (
    "Every service has a RUN step and sources that no builder has seen. Raw bake gets the same definition, with the "
    "same output (an OCI layout of each image), on the same builder; it keeps no record of how each was built and "
    "checks nothing."
)
STEP = "head -c 200000 /dev/urandom > /step"


def rows(bench: Bench) -> Iterator[Row]:
    """Measure ten services, then a hundred."""
    ours, theirs = measured(bench, 10, bench.cold_runs)
    yield ours.row("cold", "Slipway: invoke build, 10 cold services")
    yield theirs.row("cold", "docker buildx bake, 10 cold services", to=ours)
    yield against("cold", "Slipway to raw bake, 10 cold services", ours, theirs, Limit(1.05))
    ours, theirs = measured(bench, 100, 1)
    yield ours.row("cold", "Slipway: invoke build, 100 cold services")
    yield theirs.row("cold", "docker buildx bake, 100 cold services", to=ours)
    finished = 0.0 if ours.failure else 1.0
    yield Row(
        "cold", "100 cold services finish (1: yes)", finished, "", Limit(1, "at least"), runs=1, note=ours.failure
    )
    yield against("cold", "Slipway to raw bake, 100 cold services", ours, theirs, Limit(1.05))


def measured(bench: Bench, count: int, runs: int) -> tuple[Times, Times]:
    """Return the times of `invoke build` and of raw bake, in turn, each time on services that are new."""
    workspace = bench.tree(f"cold-{count}", count, step=STEP)
    bench.say(f"{count} cold services")
    place = bench.place(f"cold-{count}-bake")
    invoke(workspace, "build", "s0000")  # the base, which all start from, is there for both
    found = in_turn(
        {"ours": partial(ours_once, workspace), "bake": partial(bake_once, bench, workspace, place)},
        runs,
        warm=0,
    )
    return found["ours"], found["bake"]


def ours_once(workspace: Path) -> float:
    """Return the seconds of `invoke build` on services that are new."""
    trees.nonce(workspace)
    return invoke_seconds(workspace, "build")


def bake_once(bench: Bench, workspace: Path, place: Path) -> float:
    """Return the seconds of raw bake on services that are new."""
    trees.nonce(workspace)
    into = place / str(time.monotonic_ns())
    file = definition(workspace, into)
    buildx = workspace / ".slipway" / "bin" / "docker-buildx"
    allowed = [f"--allow=fs.read={workspace}", f"--allow=fs.write={into}"]
    command: list[str | Path] = [
        buildx,
        "bake",
        "--builder=slipway",
        f"--file={file}",
        "--progress=quiet",
        *allowed,
        "default",
    ]
    return seconds(command, workspace, bench.tools(workspace))


def definition(workspace: Path, into: Path) -> Path:
    """Write the definition that Slipway itself would give bake, with its results in a folder; return the file."""
    model = load(workspace)
    based = bases.load(workspace).bases
    targets = [bake.Target(each.name, inputs_of(model, each, based)) for each in model.services]
    made = bake.definition(targets, "oci", into)
    into.mkdir(parents=True)
    file = into / "bake.json"
    file.write_text(json.dumps({**made, "group": {"default": {"targets": list(made["target"])}}}), encoding="utf-8")
    return file
