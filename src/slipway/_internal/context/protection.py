"""Whether a stack was protected when it was last deployed; what says otherwise since is asked about."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.stack import UNPROTECT_VARIABLE, Stack, lost_protection_error
from slipway._internal.model.workspace import Workspace
from slipway._internal.run.state import local_state_folder, state_file

PROTECTION_TYPE = "slipway:index:Protection"


class _Resource(msgspec.Struct, frozen=True):
    type: str = ""
    inputs: dict[str, Any] = {}


class _Latest(msgspec.Struct, frozen=True):
    resources: list[_Resource] = []


class _Checkpoint(msgspec.Struct, frozen=True):
    latest: _Latest | None = None


class _State(msgspec.Struct, frozen=True):
    checkpoint: _Checkpoint = _Checkpoint()


def refuse_lost_protection(workspace: Workspace, stack: Stack) -> None:
    """Refuse to act on a stack whose file says that it is not protected, and whose state that it is.

    Where the state is not on this machine, or cannot be read, Pulumi compares the two before it changes anything.

    Raises:
        ConfigError: nobody has said that this is meant.
    """
    if not stack.protected and not is_protection_lifted(stack) and was_protected(workspace, stack.name):
        raise lost_protection_error(stack.name)


def is_protection_lifted(stack: Stack) -> bool:
    """Whether somebody has said that a stack's protection may be taken away in this run."""
    return stack.protection_lifted or os.environ.get(UNPROTECT_VARIABLE) == stack.name


def was_protected(workspace: Workspace, stack: str) -> bool:
    """Whether the state on this machine says that a stack was protected when it was last deployed."""
    try:
        folder = local_state_folder(workspace.project)
        if folder is None:
            return False
        data = state_file(folder, workspace.name, stack).read_bytes()
        if PROTECTION_TYPE.encode() not in data:
            return False
        latest = msgspec.json.decode(data, type=_State).checkpoint.latest
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, ConfigError):
        return False
    resources = latest.resources if latest else []
    return any(resource.type == PROTECTION_TYPE and resource.inputs.get("protected") is True for resource in resources)
