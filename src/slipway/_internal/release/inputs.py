"""Reads a deploy's inputs once, and verifies them if the stack is protected. Nothing is read again after that."""

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
    """Return the inputs of a stack's deploy.

    Args:
        context: the run's context; it needs cosign if the stack is protected.
        stack: the stack, with its effective mode.
        reporter: receives the progress of the verification.
        stack_lock: the stack's lock, if it was already read or created.
        already_verified: the services whose locked images were just verified.
        must_verify: False for a preview, which changes nothing.

    Raises:
        ConfigError: a file of the workspace shadows one of Slipway's own targets.
        EvidenceError: the lock is damaged, names images of other repositories, or lacks evidence that it needs.
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
            verify_stack,  # imported here because only protected stacks need the evidence modules
        )

        reporter.step(stack.name, "verifying the locked images")
        verify_stack(context, stack, workspace.services, stack_lock, already_verified=already_verified)
        reporter.done(stack.name, "all locked images verified")
    elif not already_verified:
        named = {service.name: service.settings.image for service in workspace.services if service.settings.image}
        repositories = {
            name: [
                workspace.repository(name),
                *(workspace.release_repository(name, registry) for registry in dict.fromkeys((stack.registry, None))),
                *([named[name].partition("@")[0]] if name in named else []),
            ]
            for name in lock.all_entries(stack_lock)
        }
        lock.refuse_foreign_images(lock.path_of(workspace.root, stack.name), lock.all_entries(stack_lock), repositories)
    return DeployInputs(workspace, stack, stack_lock.services, prebuilt_refs)
