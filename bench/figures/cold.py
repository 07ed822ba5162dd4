"""Cold builds: everything is new to the builder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import trees
from bench.ground import Bench, invoke, invoke_seconds
from bench.measure import Limit, Row, Times, against, in_turn
from bench.process import seconds
from slipway._internal.commands import bake
from slipway._internal.content.service_inputs import build_inputs_of
from slipway._internal.model import bases_lock
from slipway._internal.model.workspace import load_workspace

TITLE = "Cold builds"
ABOUT = (
    "The ten services are the demo's three and seven more by `invoke new`: pages, APIs and "
    "workers. Each has a list of packages that no builder has seen, so that all are installed "
    "anew. The hundred have a short RUN step and new sources. Raw bake gets the same "
    "definition, with the same output (an OCI layout of each image), on the same builder. It "
    "keeps no record of how each image was built, and checks nothing."
)
STEP = "head -c 200000 /dev/urandom > /step"


def rows(bench: Bench) -> Iterator[Row]:
    """Measure ten services, then a hundred."""
    ours, theirs = measured(bench, real(bench, 10), bench.cold_runs)
    yield ours.row("cold", "Slipway: invoke build, 10 cold services")
    yield theirs.row("cold", "docker buildx bake, 10 cold services", to=ours)
    yield against("cold", "Slipway to raw bake, 10 cold services", ours, theirs, Limit(1.05))
    ours, theirs = measured(bench, bench.tree("cold-100", 100, step=STEP), 1)
    yield ours.row("cold", "Slipway: invoke build, 100 cold services")
    yield theirs.row("cold", "docker buildx bake, 100 cold services", to=ours)
    finished = 0.0 if ours.failure else 1.0
    yield Row(
        "cold", "100 cold services finish (1: yes)", finished, "", Limit(1, "at least"), runs=1, note=ours.failure
    )
    yield against("cold", "Slipway to raw bake, 100 cold services", ours, theirs, Limit(1.05))


def real(bench: Bench, count: int) -> Path:
    """Make a workspace of as many services as people write: the demo's, and more of its kinds."""
    workspace = bench.set_up(bench.workspace("cold-10", services="demo"))
    for number in range(count - len(list((workspace / "services").glob("*/")))):
        invoke(workspace, "new", f"s{number}", "--kind", ("python-api", "node-web", "worker")[number % 3])
    return workspace


def measured(bench: Bench, workspace: Path, runs: int) -> tuple[Times, Times]:
    """Return the times of `invoke build` and of raw bake, in turn, each time on services that are new."""
    place = bench.place(f"{workspace.name}-bake")
    bench.say(f"building {workspace.name}")
    invoke(workspace, "build")  # the bases, which all start from, are there for both
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
    reads = [workspace, *secrets(workspace).values()]
    allowed = [*(f"--allow=fs.read={path}" for path in reads), f"--allow=fs.write={into}"]
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
    model = load_workspace(workspace)
    based = bases_lock.load(workspace).bases
    given = secrets(workspace)
    targets = [bake.BakeTarget(each.name, build_inputs_of(model, each, based), (), given) for each in model.services]
    made = bake.make_definition(targets, "oci", into)
    into.mkdir(parents=True)
    file = into / "bake.json"
    file.write_text(json.dumps({**made, "group": {"default": {"targets": list(made["target"])}}}), encoding="utf-8")
    return file


def secrets(workspace: Path) -> dict[str, Path]:
    """Return the build secrets that are files, as Slipway passes them."""
    sources = load_workspace(workspace).build_secrets(os.environ)
    return {name: Path(source.file).expanduser() for name, source in sources.items() if source.file}
