"""What a target receives to declare, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from slipway._internal.model.environment import service_environment
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.masking import register_secret
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, Workspace

Secrets = Mapping[str, pulumi.Output[str]]
"""A service's run-time secrets: name → value, which Pulumi keeps encrypted."""


@dataclass(frozen=True)
class ServicesArgs:
    """What runs in a stack.

    Attributes:
        workspace: the workspace, with its services.
        stack: the stack's settings.
        images: each service's image by digest, and the gateway's if Slipway runs one.
        secrets: each service's run-time secrets; see `read_secrets`.
    """

    workspace: Workspace
    stack: Stack
    images: Mapping[str, pulumi.Input[str]]
    secrets: Mapping[str, Secrets] = field(default_factory=dict)

    def environment(self, service: Service) -> dict[str, str]:
        """Return a service's environment variables: PORT, ROUTE, the URLs of services it needs, and its own `[env]`.

        On targets other than `docker`, services call each other at http://NAME:PORT.
        """
        return service_environment(self.workspace, service, self.stack.target)


@dataclass(frozen=True)
class Services:
    """What a target has declared.

    Attributes:
        urls: the URL of each service that has one.
        resources: what must be in place before the release is live; a component includes its children.
    """

    urls: Mapping[str, str]
    resources: Sequence[pulumi.Resource]


def read_secrets(workspace: Workspace, stack: Stack) -> dict[str, Secrets]:
    """Return the run-time secrets that each service's `secrets` names, from the stack's encrypted configuration.

    Raises:
        ConfigError: a secret has no value in this stack.
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
                f"{service.name}:{name}`; it asks for the value. Or remove it from `secrets` in "
                f"services/{service.name}/service.toml.",
            )
    return {name: value for name, value in values.items() if value is not None}
