"""Generates the secrets that services' `generated` names, once for each stack, into its encrypted configuration."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping

from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.context.workspace_lock import workspace_lock
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.stack import Stack
from slipway._internal.model.structured_files import read_yaml
from slipway._internal.model.workspace import Workspace
from slipway._internal.run.stack_config import write_secret

SECRET_BYTES = 24
"""192 bits; without padding in base64, and with no character that an address would need quoted."""


def generate_secrets(
    context: RunContext, stack: Stack, reporter: Reporter, deployed: Callable[[], Mapping[str, str]]
) -> None:
    """Generate what has no value in a stack's configuration yet. Two deploys at a time generate it once.

    Args:
        context: the run's context.
        stack: the stack.
        reporter: told what was generated.
        deployed: returns the services that have run in the stack, or have data there, each with the volume that an
            earlier workspace left (else empty); called only in case of need.

    Raises:
        ConfigError: a service has data that an earlier secret protects, and that secret is gone.
        SlipwayError: Pulumi cannot write it.
    """
    workspace = context.workspace
    if not missing_secrets(workspace, stack):
        return
    with workspace_lock(workspace, reporter):
        missing = missing_secrets(workspace, stack)
        refuse_lost_secrets(stack, missing, deployed() if missing else {})
        for key in missing:
            value = secrets.token_urlsafe(SECRET_BYTES)
            write_secret(context.bin / "pulumi", workspace.project, stack.name, key, value, context.environment)
            reporter.say(f"Generated the secret {key}, encrypted in {stack.file.name}: commit that file.")


def missing_secrets(workspace: Workspace, stack: Stack) -> list[str]:
    """Return the keys, `service:NAME`, of generated secrets that a stack's file does not have."""
    keys = [
        f"{service.name}:{name}"
        for service in workspace.services
        if service.name not in stack.external
        for name in service.settings.generated
    ]
    config = (read_yaml(stack.file).get("config") or {}) if keys else {}
    return [key for key in keys if key not in config]


def refuse_lost_secrets(stack: Stack, missing: Collection[str], deployed: Mapping[str, str]) -> None:
    """Raise ConfigError where a missing secret must have been generated before: its service has run with it."""
    lost = [key for key in missing if key.partition(":")[0] in deployed]
    if lost and (volume := deployed[lost[0].partition(":")[0]]):
        raise ConfigError(
            f"the volume {volume} has data of an earlier workspace in this folder, and the password that it was made "
            f"with is gone: `{lost[0]}` in {stack.file}",
            remedy=f"If nobody needs that data, `invoke down --stack {stack.name} --volumes` in "
            f"{stack.file.parent.parent} removes it for good, once you have typed the name that it asks for. Otherwise "
            f"put {stack.file.name} back as it was.",
        )
    if lost:
        raise ConfigError(
            f"{stack.file}: `{lost[0]}` is gone, and {lost[0].partition(':')[0]} has data in {stack.name} that was "
            "made with it",
            remedy=f"Restore the line from git (`git log -S {lost[0]} -- {stack.file.name}` in infra/), or set the "
            f"secret that the data has: `../.venv/bin/pulumi config set --secret --stack {stack.name} {lost[0]}`.",
        )
