"""One writer at a time: what builds outside Pulumi, pushes or deletes waits for another that does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from slipway._internal.context.reporter import Reporter
from slipway._internal.model.workspace import Workspace
from slipway._internal.toolchain.locking import file_lock


@contextmanager
def workspace_lock(workspace: Workspace, reporter: Reporter) -> Iterator[None]:
    """Hold the workspace's turn for the time of a `with`; the system ends it with the process, however that ends."""
    wait = "Another command of this workspace builds or pushes: waiting for its end."
    with file_lock(workspace.scratch / "run" / "turn.lock", lambda: reporter.say(wait)):
        yield
