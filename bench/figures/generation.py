"""The small things that are felt often: generating a workspace, listing the commands, an `up` with nothing to do."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.ground import PLAIN, Bench, invoke_seconds
from bench.measure import Limit, Row, in_turn, ratio_row
from bench.process import seconds
from bench.trees import COOKIECUTTER, INVOKE, ROOT

TITLE = "Generation, listing, `up` with nothing to do"
ABOUT = "Each listing is divided by that of an Invoke collection with one empty task, measured beside it."
EMPTY_TASKS = "from invoke import task\n\n\n@task\ndef empty(c):\n    pass\n"
PAIRS = 9


def rows(bench: Bench) -> Iterator[Row]:
    """Measure the three."""
    place = bench.place("generated")
    bench.say("generation")
    found = in_turn({"generation": partial(generate, place)}, bench.runs)["generation"]
    yield found.row("generation", "generating a workspace", limit=Limit(1.5))
    workspace = bench.demo
    bare = bench.place("bare")
    (bare / "tasks.py").write_text(EMPTY_TASKS, encoding="utf-8")
    bench.say("invoke --list")
    listing = [str(workspace / INVOKE), "--list"]
    found_both = in_turn(
        {"ours": partial(seconds, listing, workspace, PLAIN), "bare": partial(seconds, listing, bare, PLAIN)}, PAIRS
    )
    yield found_both["ours"].row("generation", "invoke --list")
    yield found_both["bare"].row("generation", "bare Invoke, one empty task", to=found_both["ours"])
    ours, theirs = found_both["ours"].seconds, found_both["bare"].seconds
    yield ratio_row("generation", "invoke --list to bare Invoke", ours, theirs, Limit(1.3))
    bench.say("invoke up, nothing to do")
    found = in_turn({"up": partial(invoke_seconds, workspace, "up")}, bench.runs)["up"]
    yield found.row("generation", "invoke up, nothing changed, 3 services", limit=Limit(3.0))


def generate(place: Path) -> float:
    """Return the seconds that generating a workspace takes."""
    target = Path(tempfile.mkdtemp(dir=place))
    return seconds([COOKIECUTTER, ROOT, "--no-input", "--output-dir", target], ROOT)
