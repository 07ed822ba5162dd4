"""What a deploy goes by, read once: whoever verifies and whoever declares has the same bytes before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway._internal.model.lock import LockEntry
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace


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
    lock_entries: Mapping[str, LockEntry] = field(default_factory=dict)
    prebuilt_images: Mapping[str, str] = field(default_factory=dict)

    @property
    def released_images(self) -> frozenset[str]:
        """The images that may run in the stack where it is protected."""
        return frozenset((*(entry.ref for entry in self.lock_entries.values()), *self.prebuilt_images.values()))
