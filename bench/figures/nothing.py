"""Nothing changed: how long the second run takes, and what it touches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import rivals, trees
from bench.ground import PLAIN, Bench, invoke, invoke_seconds
from bench.measure import Limit, Once, Row, in_turn
from bench.process import Failed, run, seconds
from bench.programs.audited import CONNECTIONS, PROCESSES

TITLE = "Nothing changed"
ABOUT = (
    "A hundred services of 32 small files each, all built before. Every figure is a whole "
    "process, including Python's start. The task runners (Turborepo, Nx with its daemon, moon) "
    "get the same services, with one cached task for each; they hash files and know nothing of "
    "images. Bake and Pulumi ask BuildKit or the registry."
)
LIMIT, LIMIT_THOUSAND = Limit(0.35), Limit(2.0)


def rows(bench: Bench) -> Iterator[Row]:
    """Measure `invoke build` and its rivals on a hundred services, then on a thousand."""
    workspace = bench.hundred
    tools = bench.tools(workspace)
    plain = rivals.bake_file(workspace, bench.place("bake"), None)
    pushed = rivals.bake_file(workspace, plain.parent, f"{bench.registry}/bench-rivals")
    images: list[str | Path] = [
        trees.SCRIPTS / "python",
        trees.ROOT / "bench" / "programs" / "images.py",
        workspace,
        f"{bench.registry}/bench-rivals",
        bench.place("raw-state"),
    ]
    with ExitStack() as ending:
        contestants: dict[str, Once] = {
            "Slipway: invoke build": partial(invoke_seconds, workspace, "build"),
            "docker buildx bake, no output": partial(seconds, rivals.bake_command(workspace, plain), workspace, tools),
            "docker buildx bake, pushing": partial(seconds, rivals.bake_command(workspace, pushed), workspace, tools),
            "Pulumi inline, docker-build images": partial(seconds, images, workspace, tools),
            **runners(bench, workspace, ending),
        }
        bench.say("nothing changed, a hundred services")
        found = in_turn(contestants, bench.runs, warm=2)
    ours = found.pop("Slipway: invoke build")
    yield ours.row("nothing", "Slipway: invoke build, 100 services", limit=LIMIT)
    for name, times in found.items():
        yield times.row("nothing", name, to=ours)
    yield from touched(bench, workspace)
    yield from thousand(bench)


def touched(bench: Bench, workspace: Path) -> Iterator[Row]:
    """Count what `invoke build` starts and connects to when nothing has changed."""
    file = bench.folder / "audited.json"
    program = trees.ROOT / "bench" / "programs" / "audited.py"
    run([workspace / ".venv" / "bin" / "python", program, file, "build"], workspace, PLAIN)
    counted = json.loads(file.read_text(encoding="utf-8"))
    for what, events in (("processes started", PROCESSES), ("connections made", CONNECTIONS)):
        number = float(sum(counted.get(event, 0) for event in events))
        yield Row("nothing", f"{what} by invoke build, 100 services", number, "", Limit(0), runs=1)


def runners(bench: Bench, workspace: Path, ending: ExitStack) -> dict[str, Once]:
    """Return the task runners that can be had here, ready; the others fail with their reason when they are run."""
    made: dict[str, Once] = {}
    makers: dict[str, Callable[[Path], rivals.Runner]] = {
        "Turborepo, native binary": lambda into: rivals.turbo(workspace, into),
        "Nx, with its daemon": lambda into: ending.enter_context(rivals.nx(workspace, into)),
        "moon, native binary": lambda into: rivals.moon(workspace, into),
    }
    for name, make in makers.items():
        try:
            runner = make(bench.place(name.partition(",")[0].lower()))
        except Failed as error:
            made[name] = partial(fail, error)
        else:
            made[name] = partial(seconds, runner.command, runner.folder, {**PLAIN, **runner.environment})
    return made


def fail(error: Failed) -> float:
    """Raise why a rival is not there."""
    raise error


def thousand(bench: Bench) -> Iterator[Row]:
    """Measure `invoke build` on a thousand services, beside Turborepo."""
    workspace = bench.tree("thousand", 1000)
    bench.say("building the thousand once, a hundred at a time")
    names = sorted(path.name for path in (workspace / "services").glob("s*"))
    for first in range(0, len(names), 100):
        invoke(workspace, "build", ",".join(names[first : first + 100]))
    contestants: dict[str, Once] = {"ours": partial(invoke_seconds, workspace, "build")}
    try:
        runner = rivals.turbo(workspace, bench.place("turborepo-1000"))
        contestants["turbo"] = partial(seconds, runner.command, runner.folder, {**PLAIN, **runner.environment})
    except Failed as error:
        contestants["turbo"] = partial(fail, error)
    found = in_turn(contestants, bench.runs, warm=1)
    yield found["ours"].row("nothing", "Slipway: invoke build, 1,000 services", limit=LIMIT_THOUSAND)
    yield found["turbo"].row("nothing", "Turborepo, native binary, 1,000 services", to=found["ours"])
