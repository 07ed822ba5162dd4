"""Finds the canaries of a stack, and refuses to deploy it meanwhile: a deploy would end them unasked."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from slipway._internal.context.run_context import current_environment
from slipway._internal.model.canary import Canary, canary_busy_error
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace
from slipway._internal.release.releases import CanaryStep, list_stack_resources, parse_canaries, parse_steps
from slipway._internal.run.state import local_state_folder, read_resources

CANARIES_MARKER, STEPS_MARKER = '"canaries"', '"steps"'
"""Texts that the state of a stack has which has a canary, and which had one: others need not be read in whole."""


def refuse_during_canary(workspace: Workspace, stack: str) -> None:
    """Refuse before anything is built or asked where the state on this machine names a canary.

    Where the state is elsewhere, the provider compares before anything changes.

    Raises:
        StackBusy: a canary is under way.
    """
    try:
        found = local_canaries(workspace, stack)
    except ConfigError:  # what needs the project says what is wrong with it
        return
    if found:
        raise canary_busy_error(found, stack)


def local_canaries(workspace: Workspace, stack: str) -> list[Canary] | None:
    """Return the canaries that the state on this machine names; None where the state is elsewhere.

    Raises:
        ConfigError: infra/Pulumi.yaml is damaged.
    """
    found = _local_resources(workspace, stack, CANARIES_MARKER)
    return None if found is None else parse_canaries(found)


def find_shares(workspace: Workspace, stack: Stack) -> dict[str, int]:
    """Return the percentage of requests that each canary of a stack gets, by its service.

    None are found where the state is elsewhere and cannot be read: files alone are looked at then.
    """
    with suppress(SlipwayError):
        found = local_canaries(workspace, stack.name)
        if found is None:
            found = parse_canaries(list_stack_resources(current_environment(workspace), stack))
        return {canary.service: canary.percent for canary in found}
    return {}


def list_steps(workspace: Workspace, stack: Stack) -> list[CanaryStep]:
    """Return what was done with canaries of a stack, newest first.

    Raises:
        SlipwayError: the state cannot be read.
    """
    found = _local_resources(workspace, stack.name, STEPS_MARKER)
    return parse_steps(
        stack.name, list_stack_resources(current_environment(workspace), stack) if found is None else found
    )


def _local_resources(workspace: Workspace, stack: str, marker: str) -> list[dict[str, Any]] | None:
    folder = local_state_folder(workspace.project)
    return read_resources(folder, workspace.name, stack, marker) if folder else None
