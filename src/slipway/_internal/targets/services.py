"""What a target receives to declare, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from slipway._internal.model.environment import service_environment
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.targets.connections import Secrets


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

        On targets other than `docker`, services call each other at http://NAME:PORT. The address of a service that runs
        elsewhere is a secret, so it is not in the environment.
        """
        return service_environment(self.workspace, service, self.stack)

    @property
    def services(self) -> tuple[Service, ...]:
        """The services that run in this stack: all but those whose address its configuration has."""
        return tuple(service for service in self.workspace.services if service.name not in self.stack.external)


@dataclass(frozen=True)
class Services:
    """What a target has declared.

    Attributes:
        urls: the URL of each service that has one.
        resources: what must be in place before the release is live; a component includes its children.
    """

    urls: Mapping[str, str]
    resources: Sequence[pulumi.Resource]
