"""What a deploy goes by, read once: whoever verifies and whoever declares has the same bytes before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway.model.lock import Entry
from slipway.model.stack import Stack
from slipway.model.workspace import Workspace


@dataclass(frozen=True)
class DeployInputs:
    """What a deploy goes by.

    Attributes:
        workspace: the files of the workspace.
        stack: the stack's own settings.
        locked: each service's line in the stack's lock; none for a stack that is inline. Proven where it is protected.
        beside: what runs beside the services (`lock.GATEWAY`), by digest; proven where the stack is protected.
    """

    workspace: Workspace
    stack: Stack
    locked: Mapping[str, Entry] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)

    @property
    def released(self) -> frozenset[str]:
        """The images that may run in the stack where it is protected."""
        return frozenset((*(entry.ref for entry in self.locked.values()), *self.beside.values()))
