"""The images that Pulumi builds itself, while it deploys: those of the services that nobody has built yet."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build

from slipway._internal.commands.bake import IMAGE_EXPORT, build_args, layer_cache_options
from slipway._internal.content import build_state
from slipway._internal.content.digest import BuildInputs, content_digests
from slipway._internal.content.normalized_contexts import normalize_inputs
from slipway._internal.content.service_inputs import build_inputs_by_service
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.masking import register_secret
from slipway._internal.model.names import content_tag
from slipway._internal.model.workspace import SecretSource, Workspace, read_build_secret
from slipway._internal.run import registry
from slipway._internal.run.resource_tree import FLAT_STATE
from slipway._internal.toolchain.builder import builder_of


class BuiltImages(pulumi.ComponentResource):
    """Services' images as their sources are now: what the registry has is taken, what it lacks is built and pushed.

    A service whose file names an image runs that one.

    An image's tag holds its content digest: it changes exactly when something that decides the image does. An image
    that the registry has needs no resource: nothing is diffed, no machine builds what another has built, and no build
    secret stays in the state. So a resource lives from the deploy that builds to the next one, which forgets it; the
    image stays. A preview builds nothing.

    Args:
        name: its name in the state.
        workspace: the workspace.
        services: the names of the services.
        opts: Pulumi's options. `transforms` reach each build (`docker-build:index:Image`).

    Attributes:
        refs: each service's image, by digest.

    Raises:
        SlipwayError: a file cannot be read, or the registry does not answer; a preview takes every image for one to be
            built then.
    """

    refs: dict[str, pulumi.Input[str]]

    def __init__(
        self, name: str, workspace: Workspace, services: Iterable[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:BuiltImages", name, None, opts)
        self._workspace = workspace
        self.refs = self._resolve([*services])
        self.register_outputs({})

    def _resolve(self, names: list[str]) -> dict[str, pulumi.Input[str]]:
        """Return each service's image: the registry's, or the one that is built."""
        if not names:
            return {}
        root = self._workspace.root
        stat_cache = build_state.open_stat_cache(root)
        services = [self._workspace.service(name) for name in names]
        foreign = {service.name: service.settings.image for service in services if service.settings.image}
        inputs = build_inputs_by_service(self._workspace, services, stat_cache)
        contents = content_digests(inputs, stat_cache)
        build_state.save(root, stat_cache)
        repositories = {name: self._workspace.repository(name) for name in contents}
        tags = {name: f"{repositories[name]}:{content_tag(content)}" for name, content in contents.items()}
        pushed_digests: dict[str, str | None] = {}
        with suppress(SlipwayError) if pulumi.runtime.is_dry_run() else nullcontext():
            pushed_digests = registry.resolve_digests(tags.values(), self._workspace)
        return {
            **foreign,
            **{
                name: f"{repositories[name]}@{pushed_digests[tag]}"
                if pushed_digests.get(tag)
                else self._build(name, inputs[name], tag)
                for name, tag in tags.items()
            },
        }

    def _build(self, service: str, inputs: BuildInputs, tag: str) -> pulumi.Output[str]:
        """Build a service's image, push it, and return it by digest. Secrets and times are not in the tag."""
        workspace = self._workspace
        inputs = normalize_inputs(inputs, workspace.scratch, preview=pulumi.runtime.is_dry_run())
        dockerfile = inputs.read_dockerfile()
        # What a resource is given stays in the state for a while, so it gets no more than its build reads.
        all_secrets = workspace.build_secrets(os.environ).items()
        secrets = {name: source for name, source in all_secrets if dockerfile.mounts_secret(name)}
        cache = layer_cache_options([tag], inputs.platforms, workspace.cache(os.environ), writing=True)
        image = docker_build.Image(
            service,
            context=docker_build.BuildContextArgs(
                location=self._relative(inputs.context),
                named={
                    name: docker_build.ContextArgs(location=self._relative(path))
                    for name, path in inputs.contexts.items()
                },
            ),
            dockerfile=docker_build.DockerfileArgs(location=self._relative(inputs.dockerfile)),
            target=inputs.target,
            platforms=[docker_build.Platform(platform) for platform in sorted(set(inputs.platforms))],
            build_args=build_args(inputs),
            secrets={name: value for name, source in secrets.items() if (value := _build_secret(source)) is not None},
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
            opts=pulumi.ResourceOptions(parent=self, aliases=[FLAT_STATE], retain_on_delete=True),
        )
        return image.digest.apply(lambda digest: f"{workspace.repository(service)}@{digest}")

    def _relative(self, path: Path) -> str:
        """Return a path as Pulumi, which runs in infra/, sees it: the same in every clone, so it changes no state."""
        return os.path.relpath(path, self._workspace.root / "infra")


def _build_secret(source: SecretSource) -> pulumi.Output[str] | None:
    """Return a build secret's value; None where the stack's configuration does not have it."""
    if source.config:
        register_secret(pulumi.Config("build").get(source.config))
        return pulumi.Config("build").get_secret(source.config)
    return pulumi.Output.secret(read_build_secret(source, os.environ))
