"""How a release is put on record: as soon as its images are known, and taken up as what runs when all is in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from slipway._internal.model.stack import Stack
from slipway._internal.provider.release import add_results
from slipway.pulumi import DeployInputs, Live, Protection, Release


def record_release(inputs: DeployInputs, images: Mapping[str, pulumi.Input[str]]) -> Release:
    """Declare the stack's record of releases, which gets a new one when these images are others than before."""
    stack = inputs.stack
    # Of an image that is built on the way, its tag in the registry tells the content.
    contents = {name: entry.content for name, entry in inputs.lock_entries.items() if images.get(name) == entry.ref}
    return Release(stack.name, mode=stack.mode, digests=images, contents=contents, beside=inputs.prebuilt_images)


def wait_for_all_images(
    images: Mapping[str, pulumi.Input[str]], protection: Protection
) -> Mapping[str, pulumi.Input[str]]:
    """Return the images for those who may use them only when all are known: one that cannot be built changes nothing.

    Nor does a stack that lost its protection without anybody's word: its record in the state comes first.

    A preview builds none, and says of each by itself whether it would change.
    """
    if pulumi.runtime.is_dry_run():
        return images
    resolved = pulumi.Output.all(*images.values(), protection.protected)
    return {name: resolved[number] for number, name in enumerate(images)}


def mark_live(stack: Stack, release: Release, deployed: Sequence[pulumi.Resource]) -> Live:
    """Declare that the release runs as soon as all that was deployed is in place."""
    return Live(stack.name, release=release.newest, opts=pulumi.ResourceOptions(depends_on=deployed))


def releases_with_results(release: Release, live_release: Live) -> pulumi.Output[list[dict[str, Any]]]:
    """Return the releases with their results, as they are when all is in place."""
    return pulumi.Output.all(release.releases, live_release.live, live_release.good).apply(
        lambda resolved: add_results(resolved[0], {"live": resolved[1], "good": resolved[2]})
    )
