"""Runs a user's command in a stack: where a service runs, or beside it in a place of its own."""

from __future__ import annotations

from collections.abc import Sequence

from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import Workspace
from slipway._internal.targets import target_of
from slipway._internal.targets.target import DeploymentTarget


def exec_command(workspace: Workspace, stack: str, service: str, command: Sequence[str]) -> int:
    """Run a command in a service's running container, joined to the standard streams; return its exit status.

    Raises:
        ConfigError: there is no command, no such service or stack, or the service does not run.
        SlipwayError: the place where it runs does not answer.
    """
    return _target(workspace, stack, service, command, "exec").exec_command(service, command)


def run_command(workspace: Workspace, stack: str, service: str, command: Sequence[str]) -> int:
    """Run a command in a new container like a service's, joined to the standard streams; return its exit status.

    It has the image, the network, the environment and the secrets of the release that is live, gets no requests, and
    is removed when it ends.

    Raises:
        ConfigError: there is no command, no such service or stack, or the service does not run.
        SlipwayError: the place where it runs does not answer.
    """
    return _target(workspace, stack, service, command, "run").run_command(service, command)


def _target(workspace: Workspace, stack: str, service: str, command: Sequence[str], verb: str) -> DeploymentTarget:
    if not command:
        raise ConfigError(
            "there is no command to run",
            remedy=f"Write it after two dashes: `invoke {verb} {service} --stack {stack} -- COMMAND …`.",
        )
    workspace.service(service)
    return target_of(workspace, stacks.load(workspace.root, stack, {}))
