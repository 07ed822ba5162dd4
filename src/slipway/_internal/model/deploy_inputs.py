"""The inputs of a deploy, read once: what was verified is what gets declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from slipway._internal.model import lock
from slipway._internal.model.errors import EvidenceError
from slipway._internal.model.lock import LockEntry
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace


@dataclass(frozen=True)
class DeployInputs:
    """The inputs of a deploy.

    Attributes:
        workspace: the files of the workspace.
        stack: the stack's own settings.
        lock_entries: each service's line in the stack's lock; none for an inline stack; verified for a protected one.
        prebuilt_images: what runs beside the services (`lock.GATEWAY`), by digest; verified likewise.
    """

    workspace: Workspace
    stack: Stack
    lock_entries: Mapping[str, LockEntry] = field(default_factory=dict)
    prebuilt_images: Mapping[str, str] = field(default_factory=dict)

    def locked_images(self, services: Iterable[str]) -> dict[str, str]:
        """Return the images of services, by digest, as the stack's lock names them.

        Raises:
            EvidenceError: the lock has none for a service.
        """
        names = [*services]
        if missing := [name for name in names if name not in self.lock_entries]:
            stack = self.stack
            raise EvidenceError(
                f"{lock.path_of(self.workspace.root, stack.name)} has no digest for {', '.join(missing)}",
                remedy=f"Run `invoke ship --stack {stack.name}` first{_ungated_remedy(stack)}.",
            )
        return {name: self.lock_entries[name].ref for name in names}

    @property
    def released_images(self) -> frozenset[str]:
        """The images that may run in the stack where it is protected."""
        return frozenset((*(entry.ref for entry in self.lock_entries.values()), *self.prebuilt_images.values()))


def _ungated_remedy(stack: Stack) -> str:
    if stack.overridden:
        return ", or unset SLIPWAY_IMAGES, which sets the mode of this run"
    if stack.protected:
        return ""
    return f"; or, without the gate, `invoke build` and `invoke push --stack {stack.name}`; or use the mode `hybrid`"
