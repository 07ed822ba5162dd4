"""Where services can run: each target is a module with `deploy(workspace, stack, images, secrets) -> Deployed`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

import pulumi
from slipway import Workspace
from slipway._internal.model.stack import Stack

from infra.secrets import Secrets


@dataclass(frozen=True)
class DeployedResources:
    """What a target put in place: each routed service's URL, and the resources that a release waits for."""

    urls: dict[str, str]
    resources: list[pulumi.Resource]


def deploy(
    workspace: Workspace,
    stack: Stack,
    images: Mapping[str, pulumi.Input[str]],
    secrets: Mapping[str, Secrets],
) -> DeployedResources:
    """Declare what the stack runs, on its target, whose module is imported only now: an SDK takes most of a second.

    Args:
        workspace: the workspace.
        stack: the stack.
        images: each service's image, and that of the gateway where Slipway runs one.
        secrets: each service's secrets.
    """
    target = import_module(f"infra.targets.{stack.target}")
    deployed: DeployedResources = target.deploy(workspace, stack, images, secrets)
    return deployed
