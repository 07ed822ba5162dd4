"""How a stack on Kubernetes grows: the program, the state and a deploy with nothing to do, by number of services."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import kwok, trees
from bench.ground import PLAIN, Bench
from bench.measure import Row
from bench.process import Failed, run
from slipway._internal.model.errors import SlipwayError
from slipway._internal.toolchain.cluster import node
from slipway._internal.toolchain.cluster.layout import node_layout
from slipway._internal.toolchain.install import ensure_tool, link_tools
from slipway._internal.toolchain.kubernetes_plugin import ensure_kubernetes_plugin

TITLE = "Kubernetes: many services in one stack"
ABOUT = (
    "Each service has a route, two pods, an autoscaler and variables of its own. The API server and its controllers "
    "are real, and so is the Pulumi engine; the pods run on fake nodes (kwok), so no image is pulled and no container "
    "started. The provider is Pulumi's own plugin; what was measured before December 2026 had one of the tests' own in "
    "its place. The state is a file, which the first deploy writes once, at its end (PULUMI_SKIP_CHECKPOINTS). A slope "
    "is the least squares' over the counts."
)
COUNTS, QUICK = (10, 100, 300), (5, 10, 20)
NODES = 2
ONCE = {"PULUMI_EXPERIMENTAL": "true", "PULUMI_SKIP_CHECKPOINTS": "true"}
"""Has Pulumi write the state once, at the end: after each step it would write all of it, and of some hundred services
that takes longer than all else."""
NOTHING: Mapping[str, str] = {}
SERVICE = """\
kind = "python-api"
route = "/{0}"
port = {1}

[env]
LOG_LEVEL = "info"

[resources]
memory = "64m"
cpus = 0.1

[scale]
min = 2
max = 3
"""
STACK = """\
config:
  slipway:images: inline
  slipway:target: kubernetes
  slipway:protected: false
  slipway:kubeconfig: {0}
  slipway:namespace: {1}
  slipway:gateway: bench
  slipway:host: bench.example
"""


def rows(bench: Bench) -> Iterator[Row]:
    """Measure at each count, on a cluster of the bench's own."""
    try:
        bench.ending.callback(node.tear_down)
        node.bring_up(on_line=bench.say)
    except SlipwayError as error:
        raise Failed(f"no cluster: {error.message}") from error
    kubeconfig = node_layout().kubeconfig
    kubectl = [str(ensure_tool("kubectl")), f"--kubeconfig={kubeconfig}"]
    counts = QUICK if bench.quick else COUNTS
    found: dict[int, dict[str, float]] = {}
    with kwok.nodes(kubectl, kubeconfig, NODES, bench.place("kwok")):
        for count in counts:
            bench.say(f"a stack of {count} services")
            found[count] = measured(bench, count, kubeconfig)
            yield from told(count, found[count], bench.runs)
    for name, what, unit, factor in SLOPES:
        value = slope([(count, each[name] * factor) for count, each in found.items()])
        yield Row("kubernetes", f"{what}, per service", value, unit, note=f"least squares over {counts}")


SLOPES = (
    ("program", "the program that declares", "ms", 1e3),
    ("nothing", "a deploy with nothing to do", "ms", 1e3),
    ("first", "the first deploy", "ms", 1e3),
    ("bytes", "the state", "kB", 1e-3),
)


def measured(bench: Bench, count: int, kubeconfig: Path) -> dict[str, float]:
    """Deploy so many services, deploy them again with nothing to do, and remove them; return the medians."""
    name = f"bench-scale-{count}"
    workspace = bench.workspace(f"scale-{count}")
    fill(workspace, count)
    (workspace / "infra" / "Pulumi.scale.yaml").write_text(STACK.format(kubeconfig, name), encoding="utf-8")
    state = bench.place(f"state-{count}")
    first = _program(bench, workspace, state, "up", ONCE)
    again = [_program(bench, workspace, state, "up") for _ in range(bench.runs)]
    wrong = [each["operations"] for each in again if set(each["operations"]) - {"same"}]
    _program(bench, workspace, state, "destroy", ONCE)
    if wrong:
        raise Failed(f"a deploy with nothing to do did something: {wrong[0]}")
    return {
        "first": first["seconds"],
        "resources": first["resources"],
        "bytes": statistics.median(each["bytes"] for each in again),
        "nothing": statistics.median(each["seconds"] for each in again),
        "program": statistics.median(each["program"] for each in again),
    }


def told(count: int, found: dict[str, float], runs: int) -> Iterator[Row]:
    """Return the rows of one count."""
    here = f"{count} services"
    yield Row("kubernetes", f"{here}: resources", found["resources"], "")
    yield Row("kubernetes", f"{here}: the program that declares them", found["program"], runs=runs)
    yield Row("kubernetes", f"{here}: a deploy with nothing to do", found["nothing"], runs=runs)
    yield Row("kubernetes", f"{here}: the first deploy, all pods ready", found["first"], runs=1)
    yield Row("kubernetes", f"{here}: the state", found["bytes"] / 1e6, "MB")


def fill(workspace: Path, count: int) -> None:
    """Give a workspace so many services, each of which has a route and an autoscaler."""
    for number in range(count):
        folder = workspace / "services" / f"s{number:04}"
        folder.mkdir(parents=True)
        (folder / "Dockerfile").write_text('FROM scratch AS run\nENTRYPOINT ["/app"]\n', encoding="utf-8")
        (folder / "service.toml").write_text(SERVICE.format(folder.name, 8000 + number), encoding="utf-8")


def slope(points: list[tuple[float, float]]) -> float:
    """Return how much the second grows by for each of the first: the least squares' slope."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def _program(
    bench: Bench, workspace: Path, state: Path, word: str, more: Mapping[str, str] = NOTHING
) -> dict[str, Any]:
    tools, home = bench.folder / "scale-tools", bench.folder / "pulumi-scale"
    if not tools.is_dir():
        tools.mkdir()
        link_tools(tools, ["pulumi"], on_line=bench.say)
        ensure_kubernetes_plugin(tools, home, install=True, on_line=bench.say)
    environment: dict[str, str | None] = {
        **PLAIN,
        **more,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_HOME": str(home),
    }
    program = trees.ROOT / "bench" / "programs" / "clustered.py"
    said = run(
        [workspace / ".venv" / "bin" / "python", program, workspace, "scale", state, word], workspace, environment
    )
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return found
