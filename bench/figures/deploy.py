"""A deploy that has nothing to do, beside an empty Pulumi program's `up`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import trees
from bench.ground import Bench, invoke, invoke_seconds
from bench.measure import Limit, Once, Row, against, in_turn
from bench.process import run, seconds

TITLE = "A deploy with nothing to do"
ABOUT = (
    "The demo's three services in external mode: their digests are locked, and all run already."
    " The empty program has no resource at all. It is run by the CLI, as `pulumi up --yes` is "
    "typed and as it is quickest (`--skip-preview`), and by the Automation API."
)
LIMIT = Limit(1.25)


def rows(bench: Bench) -> Iterator[Row]:
    """Measure `invoke deploy` and the empty program's three forms in turn."""
    workspace = bench.demo
    for words in (("build",), ("push", "--stack", "staging"), ("deploy", "--stack", "staging")):
        invoke(workspace, *words)
    folder, tools = bench.place("empty"), bench.tools(workspace)
    tools = {**tools, "PULUMI_HOME": str(bench.place("pulumi-home"))}
    command = empty_program(folder, workspace, tools)
    inline = [trees.SCRIPTS / "python", trees.ROOT / "bench" / "programs" / "empty.py", bench.place("empty-state")]
    contestants: dict[str, Once] = {
        "ours": partial(invoke_seconds, workspace, "deploy", "--stack", "staging"),
        "cli": partial(seconds, [*command, "up", "--yes"], folder, tools),
        "quick": partial(seconds, [*command, "up", "--yes", "--skip-preview"], folder, tools),
        "api": partial(seconds, inline, folder, tools),
    }
    bench.say("a deploy with nothing to do")
    found = in_turn(contestants, bench.runs)
    ours = found["ours"]
    yield ours.row("deploy", "Slipway: invoke deploy, external, nothing changed")
    yield found["cli"].row("deploy", "empty program: pulumi up --yes", to=ours)
    yield found["quick"].row("deploy", "empty program: pulumi up --yes --skip-preview", to=ours)
    yield found["api"].row("deploy", "empty program: Automation API", to=ours)
    for name, what in (("cli", "pulumi up"), ("quick", "pulumi up --skip-preview"), ("api", "the Automation API")):
        yield against("deploy", f"Slipway to the empty program by {what}", ours, found[name], LIMIT)


def empty_program(folder: Path, workspace: Path, tools: dict[str, str | None]) -> list[str]:
    """Write a Python program of no resources with a stack, and return the CLI that works on it."""
    state = folder / "state"
    state.mkdir()
    (folder / "Pulumi.yaml").write_text(
        f"name: empty\nruntime:\n  name: python\n  options:\n    virtualenv: {sys.prefix}\n"
        f"backend:\n  url: file://{state}\n",
        encoding="utf-8",
    )
    (folder / "__main__.py").write_text("import pulumi\n", encoding="utf-8")
    command = [str(workspace / ".slipway" / "bin" / "pulumi"), "--non-interactive"]
    run([*command, "stack", "init", "dev"], folder, tools)
    return command
