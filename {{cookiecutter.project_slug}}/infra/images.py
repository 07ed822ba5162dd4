"""Where each service's image comes from. This file alone knows the mode: `inline`, `external` or `hybrid`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build
from slipway.commands.bake import EXPORT, build_args, layer_cache
from slipway.content import known
from slipway.content.digest import BuildInputs, content_digests
from slipway.content.dockerfile import read as read_dockerfile
from slipway.content.mirror import with_normal_modes
from slipway.content.service import inputs_of_each
from slipway.model import lock
from slipway.model.errors import EvidenceError, SlipwayError
from slipway.model.inputs import DeployInputs
from slipway.model.masking import keep_secret
from slipway.model.names import content_tag
from slipway.model.stack import Stack
from slipway.model.workspace import SecretSource, Service, Workspace, secret_value
from slipway.run import registry
from slipway.toolchain.builder import name_of as builder_of


def images_of(inputs: DeployInputs, instead: Mapping[str, str]) -> dict[str, pulumi.Input[str]]:
    """Return each service's image, by digest; those in `instead` (service → image) whatever the mode says.

    Raises:
        EvidenceError: the mode is external and a service is not locked.
    """
    workspace, stack = inputs.workspace, inputs.stack
    given = {**{name: entry.ref for name, entry in inputs.locked.items()}, **instead}
    missing = [service.name for service in workspace.services if service.name not in given]
    if stack.images == "external" and missing:
        raise EvidenceError(
            f"{lock.path_of(workspace.root, stack.name)} has no digest for {', '.join(missing)}",
            remedy=f"Run `invoke ship --stack {stack.name}` first{_without_the_gate(stack)}.",
        )
    return {
        **{service.name: given[service.name] for service in workspace.services if service.name in given},
        **inline(workspace, [workspace.service(name) for name in missing]),
    }


def _without_the_gate(stack: Stack) -> str:
    if stack.overridden:
        return ", or unset SLIPWAY_IMAGES, which sets the mode of this run"
    if stack.protected:
        return ""
    return f"; or, without the gate, `invoke build` and `invoke push --stack {stack.name}`; or use the mode `hybrid`"


def inline(workspace: Workspace, services: Sequence[Service]) -> dict[str, pulumi.Input[str]]:
    """Return the services' images as the sources are now. What nobody has built yet, Pulumi builds.

    The tag holds the content digest: it changes exactly when something that decides the image does. An image that the
    registry has needs no resource: nothing is diffed, no machine builds what another has built, and no build secret
    stays in the state. So a resource lives from the deploy that builds to the next one, which forgets it.

    Raises:
        SlipwayError: the registry does not answer; a preview takes every image for one to be built then.
    """
    if not services:
        return {}
    memory = known.begin(workspace.root)
    inputs = inputs_of_each(workspace, services)
    contents = content_digests(inputs, memory)
    known.keep(workspace.root, memory)
    repositories = {name: workspace.repository(name) for name in contents}
    tags = {name: f"{repositories[name]}:{content_tag(content)}" for name, content in contents.items()}
    pushed: dict[str, str | None] = {}
    with suppress(SlipwayError) if pulumi.runtime.is_dry_run() else nullcontext():
        pushed = registry.digests(tags.values())
    return {
        name: f"{repositories[name]}@{pushed[tag]}" if pushed.get(tag) else built(workspace, name, inputs[name], tag)
        for name, tag in tags.items()
    }


def built(workspace: Workspace, service: str, inputs: BuildInputs, tag: str) -> pulumi.Output[str]:
    """Build a service's image inside Pulumi, push it, and return it by digest. Secrets and times are not in the tag."""
    inputs = with_normal_modes(inputs, workspace.scratch)
    dockerfile = read_dockerfile(inputs.dockerfile)
    # What a resource is given stays in the state for a while, so it gets no more than its build reads.
    known_ones = workspace.build_secrets(os.environ).items()
    secrets = {name: source for name, source in known_ones if dockerfile.mounts_secret(name)}
    cache = layer_cache([tag], inputs.platforms, workspace.cache(os.environ), writing=True)
    image = docker_build.Image(
        service,
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
    return image.digest.apply(lambda digest: f"{workspace.repository(service)}@{digest}")


def secret_of(source: SecretSource) -> pulumi.Output[str] | None:
    """Return a build secret's value; None where the stack's configuration does not have it."""
    if source.config:
        keep_secret(pulumi.Config("build").get(source.config))
        return pulumi.Config("build").get_secret(source.config)
    return pulumi.Output.secret(secret_value(source, os.environ))


def from_here(path: Path) -> str:
    """Return a path as Pulumi, which runs in infra/, sees it: the same in every clone, so it changes no state."""
    return os.path.relpath(path, Path(__file__).parent)
