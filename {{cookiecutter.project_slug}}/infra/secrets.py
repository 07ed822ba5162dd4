"""Run-time secrets: what each service's `secrets` names, from the stack's encrypted configuration."""

from __future__ import annotations

import pulumi
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.masking import register_secret
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, Workspace

Secrets = dict[str, pulumi.Output[str]]


def secrets_of(workspace: Workspace, stack: Stack) -> dict[str, Secrets]:
    """Return each service's secrets by name.

    Raises:
        ConfigError: one has no value in this stack.
    """
    return {service.name: _service_secrets(service, stack) for service in workspace.services}


def _service_secrets(service: Service, stack: Stack) -> Secrets:
    config = pulumi.Config(service.name)
    values = {name: config.get_secret(name) for name in service.settings.secrets}
    for name, value in values.items():
        register_secret(config.get(name))
        if value is None:
            raise ConfigError(
                f"{service.name} needs the secret {name}, which has no value in the stack {stack.name}",
                remedy=f"In infra/: `../.venv/bin/pulumi config set --secret --stack {stack.name} "
                f"{service.name}:{name}`; it asks for the value. Or take it out of `secrets` in "
                f"services/{service.name}/service.toml.",
            )
    return {name: value for name, value in values.items() if value is not None}
