"""One writer at a time: what builds outside Pulumi, pushes or deletes waits for another that does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from slipway.flows.baking import forget_left
from slipway.flows.build import NEW
from slipway.flows.report import Report
from slipway.model.workspace import Workspace
from slipway.toolchain.locking import alone


@contextmanager
def turn(workspace: Workspace, report: Report) -> Iterator[None]:
    """Hold the workspace's turn for the time of a `with`, with what killed ones left cleared away.

    The system ends it with the process, however that ends.
    """
    wait = "Another command of this workspace builds or pushes: waiting for its end."
    with alone(workspace.scratch / "run" / "turn.lock", lambda: report.say(wait)):
        for left in (workspace.scratch / "oci").glob(f"{NEW}*"):
            shutil.rmtree(left, ignore_errors=True)
        forget_left(workspace)
        yield
