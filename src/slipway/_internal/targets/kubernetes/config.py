"""A service's environment and secrets, each under a name that changes with its content.

So a change creates a new object and a new rollout, and the old pods keep their values until the rollout is done.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap, Secret

from slipway._internal.model.environment import service_environment
from slipway._internal.provider.resources import Suffix
from slipway._internal.run.resource_tree import FLAT_STATE
from slipway._internal.targets.connections import Secrets
from slipway._internal.targets.kubernetes.context import ServiceContext


@dataclass(frozen=True)
class ServiceConfig:
    """The names of a service's ConfigMap and Secret, if it has them, and the resources themselves."""

    environment: pulumi.Input[str] | None = None
    secrets: pulumi.Input[str] | None = None
    resources: tuple[pulumi.Resource, ...] = ()


def declare_config(ctx: ServiceContext, secrets: Secrets) -> ServiceConfig:
    """Declare a service's environment and secrets."""
    environment = service_environment(ctx.stack_ctx.workspace, ctx.service, ctx.stack_ctx.stack)
    resources: list[pulumi.Resource] = []
    config_name = secret_name = None
    if environment:
        config_name = f"{ctx.name}-{environment_digest(environment)}"
        resources.append(_config_map(ctx, config_name, environment))
    if secrets:
        secret_name = pulumi.Output.concat(ctx.name, "-", _suffix(ctx, secrets).text)
        resources.append(_secret(ctx, secret_name, secrets))
    return ServiceConfig(config_name, secret_name, tuple(resources))


def environment_digest(environment: Mapping[str, str]) -> str:
    """Return a digest of an environment that is short enough for a name."""
    return hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()[:10]


def _suffix(ctx: ServiceContext, secrets: Secrets) -> Suffix:
    kept = ["of"] if ctx.is_canary else None
    opts = pulumi.ResourceOptions(parent=ctx.parent, aliases=[FLAT_STATE], ignore_changes=kept)
    return Suffix(ctx.name, of=secrets, opts=opts)


def _config_map(ctx: ServiceContext, name: str, environment: Mapping[str, str]) -> ConfigMap:
    return ConfigMap(ctx.name, metadata=ctx.metadata(name), data=dict(environment), immutable=True, opts=ctx.opts())


def _secret(ctx: ServiceContext, name: pulumi.Input[str], secrets: Secrets) -> Secret:
    data = {key: _base64(value) for key, value in secrets.items()}
    return Secret(ctx.name, metadata=ctx.metadata(name), data=data, immutable=True, opts=ctx.opts())


def _base64(value: pulumi.Output[str]) -> pulumi.Output[str]:
    encoded: pulumi.Input[str] = value.apply(lambda text: base64.b64encode(text.encode()).decode())
    return pulumi.Output.secret(encoded)
