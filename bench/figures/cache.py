"""The registry's cache: a cold build of the demo on an emptied builder, with it and without."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.ground import PLAIN, Bench
from bench.measure import AT_LEAST, Limit, Row, in_turn, ratio_row
from bench.process import seconds
from bench.trees import INVOKE
from slipway._internal.toolchain import builder

TITLE = "The registry's cache"
ABOUT = (
    "The demo's three services on a builder whose cache was deleted before each run, with "
    "`[build] cache` set to `registry` and to `off`. Without the cache, packages come from "
    "their registries over the network."
)
LIMIT = Limit(5, AT_LEAST)


def rows(bench: Bench) -> Iterator[Row]:
    """Measure both, or say that the workspace does not know the setting."""
    from slipway._internal.model.workspace import BuildSettings

    if "cache" not in BuildSettings.__struct_fields__:
        yield Row("cache", "without the cache to with it", None, "×", LIMIT, note="`[build] cache` is not known yet")
        return
    workspace = bench.set_up(bench.workspace("cache", services="demo"))
    state = bench.place("emptied")
    bench.say("filling the registry's cache")
    choose(workspace, "registry")
    with emptied(state):
        build(workspace, state)
    bench.say("cold builds of the demo with the registry's cache and without")
    found = in_turn(
        {"with": partial(cold, workspace, state, "registry"), "without": partial(cold, workspace, state, "off")},
        bench.cold_runs,
        warm=0,
    )
    ours, without = found["with"], found["without"]
    yield ours.row("cache", "Slipway: invoke build, emptied builder, cache = registry")
    yield without.row("cache", "Slipway: invoke build, emptied builder, cache = off", to=ours)
    if not ours.failure and not without.failure:
        yield ratio_row("cache", "without the cache to with it", without.seconds, ours.seconds, LIMIT)


def cold(workspace: Path, state: Path, setting: str) -> float:
    """Return the seconds of `invoke build` with a setting on a builder that has nothing."""
    choose(workspace, setting)
    with emptied(state):
        return build(workspace, state)


def build(workspace: Path, state: Path) -> float:
    shutil.rmtree(workspace / ".slipway" / "oci", ignore_errors=True)
    return seconds([INVOKE, "build"], workspace, {**PLAIN, "XDG_STATE_HOME": str(state)})


def choose(workspace: Path, setting: str) -> None:
    """Write the setting into workspace.toml."""
    file = workspace / "workspace.toml"
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("cache = ")]
    lines.insert(lines.index("[build]") + 1, f'cache = "{setting}"')
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


@contextmanager
def emptied(state: Path) -> Iterator[None]:
    """Run a builder of this figure's own, new and empty, for the time of a `with`."""
    before = os.environ["XDG_STATE_HOME"]
    os.environ["XDG_STATE_HOME"] = str(state)
    try:
        builder.ensure_builder()
        yield
    finally:
        builder.stop_builder()
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir()
        os.environ["XDG_STATE_HOME"] = before
