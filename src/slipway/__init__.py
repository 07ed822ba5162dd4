"""Slipway: builds and launches a workspace's containers.

What a workspace may import is here, in `slipway.pulumi` and in `slipway.tasks`; all else may change without notice.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway._internal.model.workspace import Workspace

__all__ = ["Workspace", "__version__"]
__version__ = "0.2.0"

# Set before anything uses gRPC. Else it stands in the way of programs that are started by a fork, as on macOS: `ssh`,
# whose connection to an engine on another machine then ends without an answer.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def __getattr__(name: str) -> Any:
    """Import what is public only when it is asked for: each command imports this package."""
    if name == "Workspace":
        from slipway._internal.model.workspace import Workspace

        return Workspace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
