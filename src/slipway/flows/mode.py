"""Switching where a stack takes its images from: said first, digest by digest, then written into its file."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import Any

from slipway.content.digest import content_digest
from slipway.content.service import inputs_of
from slipway.flows.places import place_of
from slipway.flows.protection import refuse_lost_protection
from slipway.model import bases, lock
from slipway.model import stack as stacks
from slipway.model.errors import SlipwayError
from slipway.model.stack import Mode, Stack
from slipway.model.workspace import Service, Workspace

BUILT = "built by Pulumi"


@dataclass(frozen=True)
class StackMode:
    """One stack's line: its mode, and whether SLIPWAY_IMAGES overrides it at this moment."""

    name: str
    images: Mode
    target: str
    protected: bool
    overridden: bool

    @property
    def told(self) -> str:
        return f"{self.images} (by {stacks.OVERRIDE}, for this run)" if self.overridden else self.images

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Change:
    """What a switch means for one service: the digest that runs now, and what it would run."""

    service: str
    now: str
    then: str


@dataclass(frozen=True)
class Switch:
    """A switch that is thought through but not written."""

    stack: Stack
    mode: Mode
    changes: tuple[Change, ...]
    missing: tuple[str, ...]

    def told(self, dry: bool) -> str:
        """Return what was or would be done, and the next command."""
        done = f"{self.stack.name} {'would be' if dry else 'is now'} {self.mode}"
        if self.mode == "external" and self.missing:
            return (
                f"{done}. Not locked yet: {', '.join(self.missing)}. Next: `invoke build`, "
                f"`invoke push --stack {self.stack.name}`, `invoke deploy --stack {self.stack.name}`"
            )
        return f"{done}. Next: `invoke deploy --stack {self.stack.name}`"


def modes(workspace: Workspace) -> tuple[StackMode, ...]:
    """Return every stack's mode."""
    return tuple(
        StackMode(stack.name, stack.images, stack.target, stack.protected, stack.overridden)
        for stack in (stacks.load(workspace.root, name, os.environ) for name in stacks.names(workspace.root))
    )


def plan(workspace: Workspace, name: str, text: str) -> Switch:
    """Think a switch through: what each service runs now, and what it would run in the other mode.

    Raises:
        ConfigError: no such stack or mode, or the stack is protected and the mode is inline.
        EvidenceError: the stack's lock is damaged.
    """
    stack = stacks.load(workspace.root, name, {})
    mode = stacks.as_mode(text)
    stacks.refuse_inline_when_protected(replace(stack, images=mode))
    refuse_lost_protection(workspace, stack)
    locked = lock.load(workspace.root, name).services
    running = running_digests(workspace, stack)
    changes = []
    for service in workspace.services:
        now = running.get(service.name, "nothing")
        entry = locked.get(service.name) if mode != "inline" else None
        if entry:
            then = told_lock(workspace, service, entry)
        elif mode == "external":
            then = f"not locked: `invoke build`, then `invoke push --stack {name}`"
        else:
            then = BUILT
        same = bool(entry) and now == then.split(" ")[0]
        changes.append(Change(service.name, now, "the same" if same else then))
    missing = tuple(service.name for service in workspace.services if service.name not in locked)
    return Switch(stack, mode, tuple(changes), missing)


def told_lock(workspace: Workspace, service: Service, entry: lock.Entry) -> str:
    """Return a locked digest, with a word when the sources have moved on since it was built."""
    digest = entry.ref.partition("@")[2]
    try:
        fresh = content_digest(inputs_of(workspace, service, bases.load(workspace.root).bases)) == entry.content
    except SlipwayError:
        fresh = True  # what is wrong with the sources is told by the commands that build them
    return digest if fresh else f"{digest} (older than the sources)"


def running_digests(workspace: Workspace, stack: Stack) -> dict[str, str]:
    """Return the digest of each service that runs; nothing where the place that it runs in does not answer."""
    try:
        return place_of(workspace, stack).digests()
    except SlipwayError:
        return {}


def write(switch: Switch) -> None:
    """Write the switch into the stack's file."""
    stacks.write_mode(switch.stack, switch.mode)
