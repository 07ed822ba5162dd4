"""Reads what a deploy goes by, once, and proves it where the stack is protected: nothing is read again after that."""

from __future__ import annotations

from collections.abc import Collection

from slipway.flows import beside
from slipway.flows.report import Report
from slipway.flows.standing import Ground
from slipway.model import lock
from slipway.model.inputs import DeployInputs
from slipway.model.stack import Stack


def read_inputs(
    ground: Ground,
    stack: Stack,
    report: Report,
    *,
    locked: lock.Lock | None = None,
    done: Collection[str] = (),
    proving: bool = True,
) -> DeployInputs:
    """Return what a deploy of a stack goes by.

    Args:
        ground: the workspace, and cosign where the stack is protected.
        stack: the stack, with the mode in force.
        report: told that everything is proven.
        locked: the stack's lock, where it was read or made already.
        done: the names of those in it that were proven just now.
        proving: False for a preview, which changes nothing.

    Raises:
        EvidenceError: the lock is damaged, names images of other repositories, or is not proven where it has to be.
        GateRefused: the stack is protected, and today's policy refuses an image.
        SlipwayError: the stack is protected, and the registry does not answer.
    """
    workspace = ground.workspace
    if stack.images == "inline":
        return DeployInputs(workspace, stack, beside=beside.sources(workspace, stack))
    locked = locked or lock.load(workspace.root, stack.name)
    running = beside.running(workspace, stack, locked)
    if stack.protected and proving:
        from slipway.flows.verify import verify  # the evidence's modules, which no other stack needs

        report.step(stack.name, "verifying what is locked")
        verify(ground, stack, workspace.services, locked, done=done)
        report.done(stack.name, "everything that is locked is proven")
    elif not done:
        places = {
            name: [
                workspace.repository(name),
                *(workspace.release_repository(name, registry) for registry in dict.fromkeys((stack.registry, None))),
            ]
            for name in lock.all_entries(locked)
        }
        lock.refuse_elsewhere(lock.path_of(workspace.root, stack.name), lock.all_entries(locked), places)
    return DeployInputs(workspace, stack, locked.services, running)
