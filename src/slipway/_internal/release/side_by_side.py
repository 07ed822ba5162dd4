"""Lets several folders of one workspace run side by side: each has its own names, and a free port per stack."""

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
"""Ports to try after those that follow the stack's own port."""
MAX_SUFFIX_CHARACTERS = 20


def assign_suffix_and_port(workspace: Workspace, stack: Stack, name: str | None, reporter: Reporter) -> Workspace:
    """Give this folder a suffix and the stack a port if they have none; return the reloaded workspace.

    Args:
        workspace: the workspace.
        stack: the stack that is about to be deployed.
        name: the suffix; by default it is derived from the folder's name.
        reporter: receives what was chosen.

    Raises:
        ConfigError: the state is shared, the name is invalid, or this folder already runs under another name.
    """
    local_settings = workspace.local
    if local_state_folder(workspace.project) is None:
        raise ConfigError(
            "this workspace uses a shared state, so every folder has the same stacks",
            remedy=f"Create your own stack: copy {stack.file.name} to Pulumi.NAME.yaml beside it, give it another "
            "slipway:port, and run `invoke up --stack NAME`.",
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
            f"this folder already runs `{stack.name}` as {workspace.deployed_name}: {running[0][0]}",
            remedy=f"Run `invoke down --stack {stack.name}` first, then choose another name.",
        )
    stack_ports = dict(local_settings.ports)
    if stack.target == "docker" and stack.name not in stack_ports:
        stack_ports[stack.name] = find_free_port(workspace, stack)
    if (suffix, stack_ports) != (local_settings.suffix, local_settings.ports):
        local.save(workspace.root, suffix, stack_ports)
        where = f", with its gateway at port {stack_ports[stack.name]}" if stack.name in stack_ports else ""
        path = local.path_of(workspace.root)
        reporter.say(f"This folder runs beside others as {workspace.name}-{suffix}{where} ({path}).")
    return workspaces.load_workspace(workspace.root)


def suggest_suffix(root: Path, name: str) -> str:
    """Return a suffix derived from the folder's name; a random one if the name is the workspace's or unusable."""
    text = (
        re.sub(r"[^a-z0-9]+", "-", root.name.lower())
        .removeprefix(f"{name}-")
        .strip("-")[:MAX_SUFFIX_CHARACTERS]
        .strip("-")
    )
    return text if text and text != name else secrets.token_hex(2)


def find_free_port(workspace: Workspace, stack: Stack) -> int:
    """Return a free port above the stack's default one.

    Raises:
        ConfigError: no port is free.
    """
    own_ports = set(workspace.local.ports.values())
    first = gateway_port_of(workspace, stack)
    bind = workspace.settings.gateway.bind
    candidates: list[int] = [*range(first + 1, min(first + 100, 65536)), *PORT_RANGE]
    for port in candidates:
        if port not in own_ports and not ports.is_port_taken(bind, port):
            return port
    raise ConfigError(
        f"no free port at {bind} from {first + 1} on",
        remedy=f'Free one, or set one in {local.path_of(workspace.root)}: [ports] "{stack.name}" = PORT.',
    )
