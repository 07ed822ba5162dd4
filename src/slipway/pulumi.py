"""For a workspace's Pulumi program in infra/: Slipway's components and resources, and the function that runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pulumi

from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.provider.resources import (
    CanaryArgs,
    Container,
    Gateway,
    Job,
    Live,
    Network,
    Protection,
    Release,
    ReleaseCommand,
    RouteArgs,
    Suffix,
)
from slipway._internal.release.release_record import ReleaseRecord
from slipway._internal.targets.connections import Secrets, read_secrets
from slipway._internal.targets.declaration import declare_services
from slipway._internal.targets.services import Services, ServicesArgs

if TYPE_CHECKING:
    from slipway._internal.build.built_images import BuiltImages
    from slipway._internal.targets.azure.api_management import AzureApiManagement, AzureApiManagementArgs
    from slipway._internal.targets.docker.services import DockerServices
    from slipway._internal.targets.kubernetes.services import KubernetesService, KubernetesServices

__all__ = [
    "AzureApiManagement",
    "AzureApiManagementArgs",
    "BuiltImages",
    "CanaryArgs",
    "ConfigError",
    "Container",
    "DeployInputs",
    "DockerServices",
    "Gateway",
    "Job",
    "KubernetesService",
    "KubernetesServices",
    "Live",
    "Network",
    "Protection",
    "Release",
    "ReleaseCommand",
    "ReleaseRecord",
    "RouteArgs",
    "Secrets",
    "Services",
    "ServicesArgs",
    "Suffix",
    "declare_services",
    "read_secrets",
    "run",
]
_LATE = {
    "AzureApiManagement": "slipway._internal.targets.azure.api_management",
    "AzureApiManagementArgs": "slipway._internal.targets.azure.api_management",
    "BuiltImages": "slipway._internal.build.built_images",
    "DockerServices": "slipway._internal.targets.docker.services",
    "KubernetesService": "slipway._internal.targets.kubernetes.services",
    "KubernetesServices": "slipway._internal.targets.kubernetes.services",
}
"""What is imported only when it is asked for: an SDK takes most of a second."""


def __getattr__(name: str) -> Any:
    """Import a component that needs an SDK."""
    if name in _LATE:
        from importlib import import_module

        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def run(program: Callable[[DeployInputs], None]) -> None:
    """Declare a stack where Pulumi itself runs infra/__main__.py: what `invoke deploy` reads and proves, this does.

    Raises:
        pulumi.RunError: the workspace's files or the images' evidence are not as they must be; Pulumi shows it.
    """
    from slipway._internal.release.manual_inputs import read_manual_inputs

    try:
        program(read_manual_inputs(pulumi.get_stack()))
    except SlipwayError as error:
        raise pulumi.RunError("\n".join(filter(None, (error.message, error.detail, error.remedy)))) from error
