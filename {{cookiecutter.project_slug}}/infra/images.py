"""Where each service's image comes from. This file alone knows the mode: `inline`, `external` or `hybrid`."""

from __future__ import annotations

import os
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build

from slipway.commands.bake import EXPORT, build_args, layer_cache
from slipway.content.digest import content_digest
from slipway.content.service import inputs_of
from slipway.model import bases, lock
from slipway.model.errors import EvidenceError
from slipway.model.names import content_tag
from slipway.model.stack import Stack
from slipway.model.workspace import SecretSource, Service, Workspace, secret_value
from slipway.toolchain.builder import name_of as builder_of


def images_of(workspace: Workspace, stack: Stack) -> dict[str, pulumi.Input[str]]:
    """Return each service's image, by digest.

    Raises:
        EvidenceError: the mode is external and a service is not locked.
    """
    locked = lock.load(workspace.root, stack.name).services if stack.images != "inline" else {}
    missing = [service.name for service in workspace.services if service.name not in locked]
    if stack.images == "external" and missing:
        raise EvidenceError(
            f"{lock.path_of(workspace.root, stack.name)} has no digest for {', '.join(missing)}",
            remedy=f"Run `invoke build` and `invoke push --stack {stack.name}` first, or use the mode `hybrid`.",
        )
    return {
        service.name: locked[service.name].ref if service.name in locked else built(workspace, service)
        for service in workspace.services
    }


def built(workspace: Workspace, service: Service) -> pulumi.Output[str]:
    """Build a service's image inside Pulumi, push it, and return it by digest.

    The tag holds the content digest: it changes exactly when something that decides the image does, and so it is
    what makes Pulumi build again. Secrets and times are not part of it.
    """
    inputs = inputs_of(workspace, service, bases.load(workspace.root).bases)
    secrets = workspace.build_secrets(os.environ)
    repository = workspace.repository(service.name)
    tag = f"{repository}:{content_tag(content_digest(inputs))}"
    cache = layer_cache([tag], inputs.platforms, workspace.cache(os.environ), writing=True)
    image = docker_build.Image(
        service.name,
        context=docker_build.BuildContextArgs(
            location=from_here(inputs.context),
            named={name: docker_build.ContextArgs(location=from_here(path)) for name, path in inputs.contexts.items()},
        ),
        dockerfile=docker_build.DockerfileArgs(location=from_here(inputs.dockerfile)),
        target=inputs.target,
        platforms=[docker_build.Platform(platform) for platform in sorted(set(inputs.platforms))],
        build_args=build_args(inputs),
        secrets={name: value for name, source in secrets.items() if (value := secret_of(source)) is not None},
        # A token that rotates decides no image.
        ignore_secrets_in_diff_calculation=sorted(secrets),
        tags=[tag],
        cache_from=[docker_build.CacheFromArgs(raw=each) for each in cache.get("cache-from", [])],
        cache_to=[docker_build.CacheToArgs(raw=each) for each in cache.get("cache-to", [])],
        exports=[docker_build.ExportArgs(raw=f"{EXPORT},push=true")],
        push=False,
        builder=docker_build.BuilderConfigArgs(name=builder_of(workspace)),
        build_on_preview=False,
        # Replacing an image must not delete the digest that still runs.
        opts=pulumi.ResourceOptions(retain_on_delete=True),
    )
    return image.digest.apply(lambda digest: f"{repository}@{digest}")


def secret_of(source: SecretSource) -> pulumi.Output[str] | None:
    """Return a build secret's value; None where the stack's configuration does not have it."""
    if source.config:
        return pulumi.Config("build").get_secret(source.config)
    return pulumi.Output.secret(secret_value(source, os.environ))


def from_here(path: Path) -> str:
    """Return a path as Pulumi, which runs in infra/, sees it: the same in every clone, so it changes no state."""
    return os.path.relpath(path, Path(__file__).parent)
