"""What runs in a stack, how healthy it is, and whether it still is what was deployed."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from slipway._internal.context.logs import build_log, logs_folder
from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.stack import how_to_deploy
from slipway._internal.model.workspace import Workspace
from slipway._internal.targets import target_of

GATEWAY = "gateway"
STATE_COLOURS = {"healthy": "green", "running": "green", "scheduled": "green", "starting": "yellow"}


@dataclass(frozen=True)
class ServiceStatus:
    """One service where it runs. `drift` says how it differs from what was deployed, or nothing."""

    columns: ClassVar[tuple[str, ...]] = ("service", "state", "image", "since", "drift")

    service: str
    state: str
    image: str
    since: str
    drift: str

    @property
    def coloured_state(self) -> str:
        return f"[{STATE_COLOURS.get(self.state, 'red')}]{self.state}[/]"

    @property
    def cells(self) -> tuple[str, ...]:
        """Its line in a table of these columns."""
        return self.service, self.coloured_state, self.image, self.since, self.drift or "none"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_stack_status(workspace: Workspace, stack: str) -> Sequence[ServiceStatus]:
    """Return a line for each service, and on a Docker engine for the gateway; empty when nothing of the stack runs.

    Raises:
        ConfigError: there is no such stack.
        SlipwayError: the place where it runs does not answer.
    """
    return target_of(workspace, stacks.load(workspace.root, stack, {})).status()


def shorten_image(image: str) -> str:
    """Return an image with its digest cut to the twelve letters that people compare."""
    name, separator, digest = image.partition("@sha256:")
    return f"{name}{separator}{digest[:12]}" if separator else image


def format_age(timestamp: int) -> str:
    """Return how long ago a moment (seconds since 1970) was, in the largest unit that fits."""
    seconds = max(0, int(time.time() - timestamp))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def read_service_logs(
    workspace: Workspace, service: str, stack: str, *, follow: bool, tail: int, build: bool
) -> Generator[str, None, None]:
    """Yield a service's log: of its container, or of its last build.

    Raises:
        ConfigError: there is no such service or stack, it does not run there, or it was never built here.
    """
    target = stacks.load(workspace.root, stack, {})
    if service != GATEWAY:
        workspace.service(service)
    if build:
        path = build_log(logs_folder(workspace), service)
        if not path.is_file():
            raise ConfigError(
                f"{service} was never built on this machine", remedy=f"Run `invoke build` or `{how_to_deploy(stack)}`."
            )
        yield from path.read_text(encoding="utf-8", errors="replace").splitlines()[-tail:]
        return
    yield from target_of(workspace, target).logs(service, follow=follow, tail=tail)
