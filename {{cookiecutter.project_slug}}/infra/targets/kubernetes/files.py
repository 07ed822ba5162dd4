"""What a service's container reads: its environment and its secrets, each under a name that changes with it.

So a new text is a new object and a new rollout, and the pods before it keep theirs until the rollout is done.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap, Secret
from slipway.model.environment import environment_of
from slipway.provider.resources import Suffix

from infra.secrets import Secrets
from infra.targets.kubernetes.place import Plot


@dataclass(frozen=True)
class Files:
    """The names of a service's ConfigMap and Secret, where it has them, and the resources themselves."""

    environment: pulumi.Input[str] | None = None
    secrets: pulumi.Input[str] | None = None
    resources: tuple[pulumi.Resource, ...] = ()


def of(mine: Plot, secrets: Secrets) -> Files:
    """Declare a service's environment and secrets."""
    environment = environment_of(mine.place.workspace, mine.service, mine.place.stack.target)
    resources: list[pulumi.Resource] = []
    config_name = secret_name = None
    if environment:
        config_name = f"{mine.name}-{digest_of(environment)}"
        resources.append(_config_map(mine, config_name, environment))
    if secrets:
        secret_name = pulumi.Output.concat(mine.name, "-", Suffix(mine.name, of=secrets).text)
        resources.append(_secret(mine, secret_name, secrets))
    return Files(config_name, secret_name, tuple(resources))


def digest_of(environment: Mapping[str, str]) -> str:
    """Return what tells one environment from another, short enough for a name."""
    return hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()[:10]


def _config_map(mine: Plot, name: str, environment: Mapping[str, str]) -> ConfigMap:
    return ConfigMap(mine.name, metadata=mine.metadata(name), data=dict(environment), immutable=True, opts=mine.opts())


def _secret(mine: Plot, name: pulumi.Input[str], secrets: Secrets) -> Secret:
    data = {key: _encoded(value) for key, value in secrets.items()}
    return Secret(mine.name, metadata=mine.metadata(name), data=data, immutable=True, opts=mine.opts())


def _encoded(value: pulumi.Output[str]) -> pulumi.Output[str]:
    encoded: pulumi.Input[str] = value.apply(lambda text: base64.b64encode(text.encode()).decode())
    return pulumi.Output.secret(encoded)
