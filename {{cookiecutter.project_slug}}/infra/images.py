"""Where each service's image comes from. This file alone knows the mode: `inline_images`, `external` or `hybrid`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build
from slipway._internal.commands.bake import IMAGE_EXPORT, build_args, layer_cache_options
from slipway._internal.content import build_state
from slipway._internal.content.digest import BuildInputs, content_digests
from slipway._internal.content.dockerfile import read as read_dockerfile
from slipway._internal.content.normalized_contexts import normalize_modes
from slipway._internal.content.service_inputs import build_inputs_by_service
from slipway._internal.model import lock
from slipway._internal.model.errors import EvidenceError, SlipwayError
from slipway._internal.model.masking import register_secret
from slipway._internal.model.names import content_tag
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import SecretSource, Service, Workspace, read_build_secret
from slipway._internal.run import registry
from slipway._internal.toolchain.builder import builder_of
from slipway.pulumi import DeployInputs


def images_of(inputs: DeployInputs, image_overrides: Mapping[str, str]) -> dict[str, pulumi.Input[str]]:
    """Return each service's image, by digest; those in `image_overrides` (service → image) whatever the mode says.

    Raises:
        EvidenceError: the mode is external and a service is not locked.
    """
    workspace, stack = inputs.workspace, inputs.stack
    chosen = {**{name: entry.ref for name, entry in inputs.lock_entries.items()}, **image_overrides}
    missing = [service.name for service in workspace.services if service.name not in chosen]
    if stack.mode == "external" and missing:
        raise EvidenceError(
            f"{lock.path_of(workspace.root, stack.name)} has no digest for {', '.join(missing)}",
            remedy=f"Run `invoke ship --stack {stack.name}` first{_ungated_remedy(stack)}.",
        )
    return {
        **{service.name: chosen[service.name] for service in workspace.services if service.name in chosen},
        **inline_images(workspace, [workspace.service(name) for name in missing]),
    }


def _ungated_remedy(stack: Stack) -> str:
    if stack.overridden:
        return ", or unset SLIPWAY_IMAGES, which sets the mode of this run"
    if stack.protected:
        return ""
    return f"; or, without the gate, `invoke build` and `invoke push --stack {stack.name}`; or use the mode `hybrid`"


def inline_images(workspace: Workspace, services: Sequence[Service]) -> dict[str, pulumi.Input[str]]:
    """Return the services' images as the sources are now. What nobody has built yet, Pulumi builds.

    The tag holds the content digest: it changes exactly when something that decides the image does. An image that the
    registry has needs no resource: nothing is diffed, no machine builds what another has built, and no build secret
    stays in the state. So a resource lives from the deploy that builds to the next one, which forgets it.

    Raises:
        SlipwayError: the registry does not answer; a preview takes every image for one to be built then.
    """
    if not services:
        return {}
    stat_cache = build_state.open_stat_cache(workspace.root)
    inputs = build_inputs_by_service(workspace, services)
    contents = content_digests(inputs, stat_cache)
    build_state.save(workspace.root, stat_cache)
    repositories = {name: workspace.repository(name) for name in contents}
    tags = {name: f"{repositories[name]}:{content_tag(content)}" for name, content in contents.items()}
    pushed_digests: dict[str, str | None] = {}
    with suppress(SlipwayError) if pulumi.runtime.is_dry_run() else nullcontext():
        pushed_digests = registry.resolve_digests(tags.values())
    return {
        name: f"{repositories[name]}@{pushed_digests[tag]}"
        if pushed_digests.get(tag)
        else build_image(workspace, name, inputs[name], tag)
        for name, tag in tags.items()
    }


def build_image(workspace: Workspace, service: str, inputs: BuildInputs, tag: str) -> pulumi.Output[str]:
    """Build a service's image inside Pulumi, push it, and return it by digest. Secrets and times are not in the tag."""
    inputs = normalize_modes(inputs, workspace.scratch)
    dockerfile = read_dockerfile(inputs.dockerfile)
    # What a resource is given stays in the state for a while, so it gets no more than its build reads.
    all_secrets = workspace.build_secrets(os.environ).items()
    secrets = {name: source for name, source in all_secrets if dockerfile.mounts_secret(name)}
    cache = layer_cache_options([tag], inputs.platforms, workspace.cache(os.environ), writing=True)
    image = docker_build.Image(
        service,
        context=docker_build.BuildContextArgs(
            location=relative_to_infra(inputs.context),
            named={
                name: docker_build.ContextArgs(location=relative_to_infra(path))
                for name, path in inputs.contexts.items()
            },
        ),
        dockerfile=docker_build.DockerfileArgs(location=relative_to_infra(inputs.dockerfile)),
        target=inputs.target,
        platforms=[docker_build.Platform(platform) for platform in sorted(set(inputs.platforms))],
        build_args=build_args(inputs),
        secrets={name: value for name, source in secrets.items() if (value := build_secret(source)) is not None},
        # A token that rotates decides no image.
        ignore_secrets_in_diff_calculation=sorted(secrets),
        tags=[tag],
        cache_from=[docker_build.CacheFromArgs(raw=raw) for raw in cache.get("cache-from", [])],
        cache_to=[docker_build.CacheToArgs(raw=raw) for raw in cache.get("cache-to", [])],
        exports=[docker_build.ExportArgs(raw=f"{IMAGE_EXPORT},push=true")],
        push=False,
        builder=docker_build.BuilderConfigArgs(name=builder_of(workspace)),
        build_on_preview=False,
        # Replacing an image must not delete the digest that still runs.
        opts=pulumi.ResourceOptions(retain_on_delete=True),
    )
    return image.digest.apply(lambda digest: f"{workspace.repository(service)}@{digest}")


def build_secret(source: SecretSource) -> pulumi.Output[str] | None:
    """Return a build secret's value; None where the stack's configuration does not have it."""
    if source.config:
        register_secret(pulumi.Config("build").get(source.config))
        return pulumi.Config("build").get_secret(source.config)
    return pulumi.Output.secret(read_build_secret(source, os.environ))


def relative_to_infra(path: Path) -> str:
    """Return a path as Pulumi, which runs in infra/, sees it: the same in every clone, so it changes no state."""
    return os.path.relpath(path, Path(__file__).parent)
