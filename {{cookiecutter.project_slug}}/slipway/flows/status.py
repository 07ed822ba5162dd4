"""What runs in a stack, how healthy it is, and whether it still is what was deployed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from slipway.flows.logs import build_log, logs_of
from slipway.model import stack as stacks
from slipway.model.errors import ConfigError
from slipway.model.workspace import Workspace
from slipway.run import engine

GATEWAY = "gateway"
COLOURS = {"healthy": "green", "running": "green", "starting": "yellow"}


@dataclass(frozen=True)
class Status:
    """One service as the engine has it. `drift` says how it differs from what was deployed, or nothing."""

    service: str
    state: str
    image: str
    since: str
    drift: str

    @property
    def coloured(self) -> str:
        return f"[{COLOURS.get(self.state, 'red')}]{self.state}[/]"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def status_of(workspace: Workspace, stack: str) -> list[Status]:
    """Return a line for each service and the gateway; empty when nothing of the stack runs.

    Raises:
        ConfigError: there is no such stack.
    """
    stacks.load(workspace.root, stack, {})
    found = {each.service: each for each in engine.containers(workspace.name, stack)}
    if not found:
        return []
    rows = []
    for name in [*(service.name for service in workspace.services), GATEWAY]:
        each = found.pop(name, None)
        if each is None:
            rows.append(Status(name, "missing", "-", "-", "not there: `invoke up` restores it"))
            continue
        state = each.health or each.state
        drift = "" if each.state == "running" else f"it is {each.state}: `invoke up` restores it"
        drift = drift or ("made by `invoke dev`: `invoke up` deploys it" if each.dev else "")
        rows.append(Status(name, state, short(each.image), ago(each.created), drift))
    rows += [
        Status(name, each.state, short(each.image), ago(each.created), "no such service any more")
        for name, each in found.items()
    ]
    return rows


def short(image: str) -> str:
    """Return an image with its digest cut to the twelve letters that people compare."""
    name, at, digest = image.partition("@sha256:")
    return f"{name}{at}{digest[:12]}" if at else image


def ago(created: int) -> str:
    """Return how long ago a moment (seconds since 1970) was, in the largest unit that fits."""
    seconds = max(0, int(time.time() - created))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def lines_of(workspace: Workspace, service: str, stack: str, *, follow: bool, tail: int, build: bool) -> Iterator[str]:
    """Yield a service's log: of its container, or of its last build.

    Raises:
        ConfigError: there is no such service or stack, it does not run there, or it was never built here.
    """
    stacks.load(workspace.root, stack, {})
    if service != GATEWAY:
        workspace.service(service)
    if build:
        path = build_log(logs_of(workspace), service)
        if not path.is_file():
            raise ConfigError(f"{service} was never built on this machine", remedy="Run `invoke build` or `invoke up`.")
        yield from path.read_text(encoding="utf-8", errors="replace").splitlines()[-tail:]
        return
    running = [each for each in engine.containers(workspace.name, stack) if each.service == service]
    if not running:
        raise ConfigError(
            f"{service} does not run in {stack}",
            remedy=f"`invoke status --stack {stack}` shows what does; `invoke up` starts it.",
        )
    yield from engine.logs(running[-1].id, tail=tail, follow=follow)
