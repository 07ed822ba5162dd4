"""The record of a stack's releases, as part of the Pulumi program that creates them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from slipway._internal.model.canary import Canary, CanaryChange, canary_image_name
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.provider.release import add_results
from slipway._internal.provider.resources import Live, Protection, Release
from slipway._internal.run.resource_tree import FLAT_STATE

_KEPT: Mapping[CanaryChange | None, tuple[str, ...]] = {
    "weights": ("mode", "digests", "services", "contents", "beside"),
    "promotion": ("mode", "beside"),
}
"""What a change of canaries leaves of the record as it is: the gateway, above all, is not replaced."""


def canaries_as_inputs(canaries: Sequence[Canary] | None) -> dict[str, dict[str, Any]] | None:
    """Return canaries as an input of Release; None where the run knows of none."""
    if canaries is None:
        return None
    return {canary.service: {"image": canary.image, "percent": canary.percent} for canary in canaries}


class ReleaseRecord(pulumi.ComponentResource):
    """A stack's releases: each is recorded once its images are known, and live once everything is in place.

    Args:
        name: its name in the state: the stack's name.
        inputs: the deploy's inputs.
        images: each service's image, by digest. A change in them starts a new release.
        opts: Pulumi's options.

    Attributes:
        images: the images to run, including the gateway's. They resolve only when all are built, and the stack's
            protection and the release are recorded, so a failed build, a stack that lost its protection without
            confirmation, or a deploy that would end a canary, changes nothing. In a preview, which builds nothing, each
            resolves on its own. Those of canaries are among them, once the record names them: see `canary_image_name`.
    """

    images: Mapping[str, pulumi.Input[str]]

    def __init__(
        self,
        name: str,
        inputs: DeployInputs,
        images: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("slipway:index:ReleaseRecord", name, None, opts)
        stack = inputs.stack
        self._name = stack.name
        self._child_opts = pulumi.ResourceOptions(parent=self, aliases=[FLAT_STATE])
        self._protection = Protection(stack.name, stack=stack.name, protected=stack.protected, opts=self._child_opts)
        # For an image that this deploy builds, its tag in the registry gives the content digest.
        contents = {name: entry.content for name, entry in inputs.lock_entries.items() if images.get(name) == entry.ref}
        self._release = Release(
            stack.name,
            mode=stack.mode,
            digests=images,
            contents=contents,
            beside=inputs.prebuilt_images,
            canaries=canaries_as_inputs(stack.canaries),
            ends=stack.canary_end,
            opts=pulumi.ResourceOptions.merge(
                self._child_opts, pulumi.ResourceOptions(ignore_changes=list(_KEPT.get(stack.canary_change, ())))
            ),
        )
        self._live: Live | None = None
        canary_images = self._canary_images(stack.canaries)
        self.images = {**self._wait_for_all({**images, **inputs.prebuilt_images}), **canary_images}
        self.register_outputs({})

    def mark_live(self, deployed: Sequence[pulumi.Resource]) -> None:
        """Declare that the release is live once these resources are in place; a component includes its children.

        Args:
            deployed: the resources that must be in place.
        """
        opts = pulumi.ResourceOptions(depends_on=deployed)
        self._live = Live(
            self._name,
            release=self._release.newest,
            opts=pulumi.ResourceOptions.merge(self._child_opts, opts),
        )

    @property
    def live(self) -> pulumi.Output[str]:
        """The id of the live release; known once everything is in place."""
        return self._marked().live

    @property
    def releases(self) -> pulumi.Output[list[dict[str, Any]]]:
        """The last twenty releases, newest first, each with its result; known once everything is in place."""
        live = self._marked()
        return pulumi.Output.all(self._release.releases, live.live, live.good).apply(
            lambda resolved: add_results(resolved[0], {"live": resolved[1], "good": resolved[2]})
        )

    def _marked(self) -> Live:
        if self._live is None:
            raise RuntimeError("call mark_live first: it says which resources make the release live")
        return self._live

    def _canary_images(self, canaries: Sequence[Canary] | None) -> dict[str, pulumi.Output[str]]:
        """Return the canaries' images, known once the record names them: what is there is known to be one."""
        return {
            canary_image_name(canary.service): pulumi.Output.all(canary.image, self._release.steps).apply(
                lambda resolved: str(resolved[0])
            )
            for canary in canaries or ()
        }

    def _wait_for_all(self, images: Mapping[str, pulumi.Input[str]]) -> Mapping[str, pulumi.Input[str]]:
        if pulumi.runtime.is_dry_run():
            return images
        resolved = pulumi.Output.all(*images.values(), self._protection.protected, self._release.releases)
        return {name: resolved[number] for number, name in enumerate(images)}
