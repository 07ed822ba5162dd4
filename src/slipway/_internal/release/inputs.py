"""Reads what a deploy goes by, once, and proves it where the stack is protected: nothing is read again after that."""

from __future__ import annotations

from collections.abc import Collection

from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import prebuilt_images
from slipway._internal.model import lock
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.model.own_targets import refuse_shadowing_target
from slipway._internal.model.stack import Stack


def read_inputs(
    context: RunContext,
    stack: Stack,
    reporter: Reporter,
    *,
    stack_lock: lock.Lock | None = None,
    already_verified: Collection[str] = (),
    must_verify: bool = True,
) -> DeployInputs:
    """Return what a deploy of a stack goes by.

    Args:
        context: the workspace, and cosign where the stack is protected.
        stack: the stack, with the mode in force.
        reporter: told that everything is proven.
        stack_lock: the stack's lock, where it was read or made already.
        already_verified: the names of those in it that were proven just now.
        must_verify: False for a preview, which changes nothing.

    Raises:
        ConfigError: a file of the workspace would be taken for the stack's target.
        EvidenceError: the lock is damaged, names images of other repositories, or is not proven where it has to be.
        GateRefused: the stack is protected, and today's policy refuses an image.
        SlipwayError: the stack is protected, and the registry does not answer.
    """
    workspace = context.workspace
    refuse_shadowing_target(workspace.root, stack.target)
    if stack.mode == "inline":
        return DeployInputs(workspace, stack, prebuilt_images=prebuilt_images.base_refs(workspace, stack))
    stack_lock = stack_lock or lock.load(workspace.root, stack.name)
    prebuilt_refs = prebuilt_images.resolve_refs(workspace, stack, stack_lock)
    if stack.protected and must_verify:
        from slipway._internal.gate.verification import (
            verify_stack,  # the evidence's modules, which no other stack needs
        )

        reporter.step(stack.name, "verifying what is locked")
        verify_stack(context, stack, workspace.services, stack_lock, already_verified=already_verified)
        reporter.done(stack.name, "everything that is locked is proven")
    elif not already_verified:
        repositories = {
            name: [
                workspace.repository(name),
                *(workspace.release_repository(name, registry) for registry in dict.fromkeys((stack.registry, None))),
            ]
            for name in lock.all_entries(stack_lock)
        }
        lock.refuse_foreign_images(lock.path_of(workspace.root, stack.name), lock.all_entries(stack_lock), repositories)
    return DeployInputs(workspace, stack, stack_lock.services, prebuilt_refs)
