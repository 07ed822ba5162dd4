"""A new clone, where the registry has everything: how long the first `invoke build` takes, and what it asks."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bench.ground import Bench, invoke, invoke_seconds
from bench.measure import Limit, Row, Times
from bench.proxy import counting

TITLE = "A new clone"
ABOUT = (
    "The tree without anything that an earlier build left in it. A proxy in front of the "
    "registry counts the requests, in a clone of its own, which is not timed. Asking whether a "
    "registry is there (`/v2/`) is not counted."
)


def rows(bench: Bench) -> Iterator[Row]:
    """Push the hundred, then build in fresh clones."""
    workspace = bench.hundred
    bench.say("pushing the hundred")
    invoke(workspace, "build")
    invoke(workspace, "push")
    bench.say("a new clone")
    times = Times()
    for number in range(bench.runs):
        times.seconds.append(invoke_seconds(clone(workspace, bench.folder / f"clone-{number}"), "build"))
    yield times.row("clone", "Slipway: invoke build in a new clone, 100 services")
    with counting(bench.registry, bench.port()) as (address, requests):
        copied = clone(workspace, bench.folder / "clone-counted")
        settings = copied / "workspace.toml"
        settings.write_text(settings.read_text(encoding="utf-8").replace(bench.registry, address), encoding="utf-8")
        told = invoke(copied, "build")
    asked = Counter(method for method, path in requests if path != "/v2/")
    rest = asked.total() - asked["HEAD"]
    yield Row("clone", "HEAD requests, 100 services", float(asked["HEAD"]), "", Limit(100), runs=1)
    yield Row("clone", "other requests, 100 services", float(rest), "", Limit(0), runs=1, note=others(asked))
    yield Row("clone", "services built", float(told.count("built ")), "", Limit(0), runs=1)


def clone(workspace: Path, into: Path) -> Path:
    """Copy a workspace without what builds left, as git would; its tools are linked already."""
    shutil.copytree(workspace, into, ignore=shutil.ignore_patterns(".slipway", "__pycache__"))
    invoke(into, "setup")
    return into


def others(asked: Counter[str]) -> str:
    """Return how many requests there were of each other kind, in words."""
    rest = [f"{count} {method}" for method, count in sorted(asked.items()) if method != "HEAD"]
    return ", ".join(rest)
