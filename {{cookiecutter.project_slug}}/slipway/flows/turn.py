"""One writer at a time: what builds for, pushes to or deletes from the registry waits for another that does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from slipway.flows.report import Report
from slipway.model.workspace import Workspace
from slipway.toolchain.locking import alone


@contextmanager
def turn(workspace: Workspace, report: Report) -> Iterator[None]:
    """Hold the workspace's turn at the registry for the time of a `with`; the system ends it with the process."""
    wait = "Another command of this workspace writes to the registry: waiting for its end."
    with alone(workspace.scratch / "run" / "registry.lock", lambda: report.say(wait)):
        yield
