"""Lets a folder run beside another of the same workspace: names of its own, and a free port for each stack."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from slipway._internal.context.reporter import Reporter
from slipway._internal.model import local_settings as local
from slipway._internal.model import workspace as workspaces
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.stack import Stack, gateway_port_of
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import ports
from slipway._internal.run.state import local_state_folder
from slipway._internal.targets import target_of

PORT_RANGE = range(8080, 9080)
"""Where a free port is looked for, after the workspace's own."""
MAX_SUFFIX_CHARACTERS = 20


def assign_suffix_and_port(workspace: Workspace, stack: Stack, name: str | None, reporter: Reporter) -> Workspace:
    """Give this folder a suffix and the stack a port, where it has none; return the workspace as it is then.

    Args:
        workspace: the workspace.
        stack: the stack that is about to be deployed.
        name: the suffix; without one it is made of the folder's name.
        reporter: told what was chosen.

    Raises:
        ConfigError: the state is shared, the name is none, or this folder runs under other names already.
    """
    local_settings = workspace.local
    if local_state_folder(workspace.project) is None:
        raise ConfigError(
            "the state of this workspace is shared, so its stacks are the same ones in every folder",
            remedy=f"Make a stack of your own: copy {stack.file.name} to Pulumi.NAME.yaml beside it, give it another "
            "slipway:port, and `invoke up --stack NAME`.",
        )
    suffix = name or local_settings.suffix or suggest_suffix(workspace.root, workspace.name)
    if not local.SUFFIX_PATTERN.fullmatch(suffix):
        raise ConfigError(
            f"{suffix!r} is not a valid name for `--beside`",
            remedy="Use lower-case letters, digits and dashes, at most 20: "
            f"`invoke up --stack {stack.name} --beside feature-x`.",
        )
    if suffix != local_settings.suffix and (running := target_of(workspace, stack).running_images()):
        raise ConfigError(
            f"this folder runs `{stack.name}` as {workspace.deployed_name} already: {running[0][0]}",
            remedy=f"`invoke down --stack {stack.name}` first; then it can have another name.",
        )
    stack_ports = dict(local_settings.ports)
    if stack.target == "docker" and stack.name not in stack_ports:
        stack_ports[stack.name] = find_free_port(workspace, stack)
    if (suffix, stack_ports) != (local_settings.suffix, local_settings.ports):
        local.save(workspace.root, suffix, stack_ports)
        where = f", its gateway at port {stack_ports[stack.name]}" if stack.name in stack_ports else ""
        path = local.path_of(workspace.root)
        reporter.say(f"This folder runs beside others as {workspace.name}-{suffix}{where} ({path}).")
    return workspaces.load_workspace(workspace.root)


def suggest_suffix(root: Path, name: str) -> str:
    """Return a suffix made of a folder's name; a random one where that tells it from no other."""
    text = (
        re.sub(r"[^a-z0-9]+", "-", root.name.lower())
        .removeprefix(f"{name}-")
        .strip("-")[:MAX_SUFFIX_CHARACTERS]
        .strip("-")
    )
    return text if text and text != name else secrets.token_hex(2)


def find_free_port(workspace: Workspace, stack: Stack) -> int:
    """Return a port that nobody has, above the one that the stack would have.

    Raises:
        ConfigError: all are taken.
    """
    own_ports = set(workspace.local.ports.values())
    first = gateway_port_of(workspace, stack)
    bind = workspace.settings.gateway.bind
    candidates: list[int] = [*range(first + 1, min(first + 100, 65536)), *PORT_RANGE]
    for port in candidates:
        if port not in own_ports and not ports.is_port_taken(bind, port):
            return port
    raise ConfigError(
        f"no port from {first + 1} on is free at {bind}",
        remedy=f'Free one, or write one into {local.path_of(workspace.root)}: [ports] "{stack.name}" = PORT.',
    )
