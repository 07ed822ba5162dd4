"""Switches where a stack takes its images from: shows the change by digest, then writes it to the stack's file."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import Any

from slipway._internal.content.digest import content_digest
from slipway._internal.content.service_inputs import build_inputs_of
from slipway._internal.context.protection import refuse_lost_protection
from slipway._internal.model import bases_lock, lock
from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.stack import Mode, Stack
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.targets import target_of

BUILT_INLINE = "built by Pulumi"


@dataclass(frozen=True)
class StackMode:
    """One stack's mode, and whether SLIPWAY_IMAGES currently overrides it."""

    name: str
    images: Mode
    target: str
    protected: bool
    overridden: bool

    @property
    def summary(self) -> str:
        return f"{self.images} (by {stacks.MODE_VARIABLE}, for this run)" if self.overridden else self.images

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ImageChange:
    """What a switch means for one service: the digest that runs now, and what would run after it."""

    service: str
    current: str
    after_switch: str


@dataclass(frozen=True)
class ModeSwitch:
    """A planned switch, not written yet."""

    stack: Stack
    mode: Mode
    changes: tuple[ImageChange, ...]
    missing: tuple[str, ...]

    def summary(self, dry: bool) -> str:
        """Return what was done, or would be done in a dry run, and the next command."""
        outcome = f"{self.stack.name} {'would be' if dry else 'is now'} {self.mode}"
        if self.mode == "external" and self.missing:
            return (
                f"{outcome}. Not locked yet: {', '.join(self.missing)}. Next: `invoke build`, "
                f"`invoke push --stack {self.stack.name}`, `invoke deploy --stack {self.stack.name}`"
            )
        return f"{outcome}. Next: `invoke deploy --stack {self.stack.name}`"


def list_modes(workspace: Workspace, only: str | None = None) -> tuple[StackMode, ...]:
    """Return the mode of every stack, or of one.

    Raises:
        ConfigError: the stack does not exist, or a stack's file is invalid.
    """
    names = (only,) if only else stacks.names(workspace.root)
    return tuple(
        StackMode(stack.name, stack.mode, stack.target, stack.protected, stack.overridden)
        for stack in (stacks.load(workspace.root, name, os.environ) for name in names)
    )


def plan_switch(workspace: Workspace, name: str, text: str) -> ModeSwitch:
    """Plan a switch: what each service runs now, and what it would run in the other mode.

    Raises:
        ConfigError: the stack or mode does not exist, or the stack is protected and the mode is inline.
        EvidenceError: the stack's lock is damaged.
    """
    stack = stacks.load(workspace.root, name, {})
    mode = stacks.parse_mode(text)
    stacks.refuse_inline_when_protected(replace(stack, mode=mode))
    refuse_lost_protection(workspace, stack)
    locked_entries = lock.load(workspace.root, name).services
    running_images = running_digests(workspace, stack)
    changes = []
    for service in workspace.services:
        current = running_images.get(service.name, "nothing")
        entry = locked_entries.get(service.name) if mode != "inline" else None
        if entry:
            after_switch = describe_locked(workspace, service, entry)
        elif mode != "external" and service.settings.image:
            after_switch = service.settings.image.partition("@")[2]
        elif mode == "external":
            after_switch = f"not locked: `invoke build`, then `invoke push --stack {name}`"
        else:
            after_switch = BUILT_INLINE
        is_same = bool(entry) and current == after_switch.split(" ")[0]
        changes.append(ImageChange(service.name, current, "the same" if is_same else after_switch))
    missing = tuple(service.name for service in workspace.services if service.name not in locked_entries)
    return ModeSwitch(stack, mode, tuple(changes), missing)


def describe_locked(workspace: Workspace, service: Service, entry: lock.LockEntry) -> str:
    """Return a locked digest, marked if the sources have changed since it was built."""
    digest = entry.ref.partition("@")[2]
    if service.settings.image:
        return digest if digest == service.settings.image.partition("@")[2] else f"{digest} (not the one in its file)"
    try:
        is_current = (
            content_digest(build_inputs_of(workspace, service, bases_lock.load(workspace.root).bases)) == entry.content
        )
    except SlipwayError:
        is_current = True  # the build commands report what is wrong with the sources
    return digest if is_current else f"{digest} (older than the sources)"


def running_digests(workspace: Workspace, stack: Stack) -> dict[str, str]:
    """Return the digest of each running service; empty if the target does not answer."""
    try:
        return target_of(workspace, stack).running_digests()
    except SlipwayError:
        return {}


def write_switch(switch: ModeSwitch) -> None:
    """Write the new mode to the stack's file."""
    stacks.write_mode(switch.stack, switch.mode)
