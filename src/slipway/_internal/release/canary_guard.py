"""Refuses to deploy a stack that has canaries under way: a deploy would end them unasked."""

from __future__ import annotations

from slipway._internal.model.canary import canary_busy_error
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import Workspace
from slipway._internal.release.releases import parse_canaries
from slipway._internal.run.state import local_state_folder, read_resources

MARKER = '"canaries"'
"""A text that the state of a stack with a canary has."""


def refuse_during_canary(workspace: Workspace, stack: str) -> None:
    """Refuse before anything is built or asked where the state on this machine names a canary.

    Where the state is elsewhere, the provider compares before anything changes.

    Raises:
        StackBusy: a canary is under way.
    """
    try:
        folder = local_state_folder(workspace.project)
    except ConfigError:  # what needs the project says what is wrong with it
        return
    if folder and (found := parse_canaries(read_resources(folder, workspace.name, stack, MARKER))):
        raise canary_busy_error(found, stack)
