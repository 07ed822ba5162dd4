"""A hundred images inside Pulumi with nothing changed, beside a plain program of the same images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import trees
from bench.ground import Bench, invoke, invoke_seconds, pause_lib
from bench.measure import Limit, Once, Row, against, in_turn
from bench.process import Failed, seconds

TITLE = "A hundred images inside Pulumi, nothing changed"
ABOUT = (
    "`invoke up` on a hundred running services, beside a plain Automation API program of a "
    "hundred docker-build images, which runs no container. Neither has build secrets."
)
LIMIT = Limit(1.0)


def rows(bench: Bench) -> Iterator[Row]:
    """Measure ours and the plain program in turn."""
    workspace = bench.workspace("inline")
    try:
        pause_lib(workspace)
    except Failed as error:
        yield Row("inline", "Slipway: invoke up, 100 images and containers", note=error.short)
        return
    trees.fill(workspace, 100, paused=True)
    settings = workspace / "workspace.toml"
    kept = [line for line in settings.read_text(encoding="utf-8").splitlines() if not line.startswith("ca = ")]
    settings.write_text("\n".join(kept) + "\n", encoding="utf-8")
    bench.set_up(workspace)
    bench.say("deploying a hundred services inline, once")
    invoke(workspace, "up")
    tools = {**bench.tools(workspace), "PULUMI_HOME": str(bench.place("pulumi-home-inline"))}
    program = trees.ROOT / "bench" / "programs" / "images.py"
    python: str | Path = trees.SCRIPTS / "python"
    plain = [python, program, workspace, f"{bench.registry}/bench-plain", bench.place("inline-state")]
    contestants: dict[str, Once] = {
        "up": partial(invoke_seconds, workspace, "up"),
        "plain": partial(seconds, plain, workspace, tools),
    }
    bench.say("a hundred images inside Pulumi, nothing changed")
    found = in_turn(contestants, bench.runs)
    yield found["up"].row("inline", "Slipway: invoke up, 100 images and containers")
    yield found["plain"].row("inline", "Pulumi: 100 docker-build images", to=found["up"])
    yield against("inline", "invoke up to the plain program", found["up"], found["plain"], LIMIT)
