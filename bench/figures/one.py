"""One service changed, or one lib: what is built, and how long it takes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import rivals, trees
from bench.ground import Bench, invoke
from bench.measure import Limit, Once, Row, in_turn
from bench.process import run

TITLE = "One thing changed"
ABOUT = (
    f"One line is changed: of one of a hundred services, or of a lib that {trees.LIB_USERS} "
    "services use. Bake gets the same change, and has to look at all hundred. A hundred targets"
    " at once leave BuildKit much to clear up, for up to half a minute, and whoever comes next "
    "has to wait. So each build of ours that counts follows one that does not, and bake follows"
    " ours."
)
BUILT = re.compile(r"^(s\d{4})\s+built [0-9a-f]{12}", re.MULTILINE)


def rows(bench: Bench) -> Iterator[Row]:
    """Measure `invoke build` and bake (pushing) after each kind of change."""
    workspace = bench.hundred
    tools = bench.tools(workspace)
    file = rivals.bake_file(workspace, bench.place("bake-one"), f"{bench.registry}/bench-rivals")
    last = max(path.name for path in (workspace / "services").glob("s*"))
    for what, name, reached in (("one service", last, 1), ("one lib", trees.LIB, trees.LIB_USERS)):
        counts: list[int] = []
        contestants: dict[str, Once] = {
            "ours": partial(build, workspace, name, counts),
            "bake": partial(bake, workspace, name, file, tools),
        }
        bench.say(f"{what} changed")
        found = in_turn(contestants, bench.runs)
        yield found["ours"].row("one", f"Slipway: invoke build, {what} changed")
        yield found["bake"].row("one", f"docker buildx bake, pushing, {what} changed", to=found["ours"])
        built = float(max(counts)) if counts else None
        yield Row("one", f"services that Slipway built, {what} changed", built, "", Limit(reached), runs=len(counts))


def build(workspace: Path, name: str, counts: list[int]) -> float:
    """Change something and run `invoke build`; return its seconds, and note how many services it built."""
    trees.touch(workspace, name)
    invoke(workspace, "build")  # builds what bake changed last, too, and waits for BuildKit
    trees.touch(workspace, name)
    began = time.monotonic()
    said = invoke(workspace, "build")
    taken = time.monotonic() - began
    counts.append(len(BUILT.findall(said)))
    return taken


def bake(workspace: Path, name: str, file: Path, tools: dict[str, str | None]) -> None:
    """Change the same and run bake."""
    trees.touch(workspace, name)
    run(rivals.bake_command(workspace, file), workspace, tools)
