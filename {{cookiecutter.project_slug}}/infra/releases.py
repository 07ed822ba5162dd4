"""How a release is put on record: before anything changes, and taken up as what runs when all is in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from slipway.model import lock
from slipway.model.stack import Stack
from slipway.model.workspace import Workspace
from slipway.provider.release import with_results
from slipway.provider.resources import Live, Release


def begun(workspace: Workspace, stack: Stack, images: Mapping[str, pulumi.Input[str]]) -> Release:
    """Declare the stack's record of releases, which gets a new one when these images are others than before."""
    locked = lock.load(workspace.root, stack.name).services if stack.images != "inline" else {}
    # Of an image that is built on the way, its tag in the registry tells the content.
    contents = {name: locked[name].content for name in images if name in locked}
    return Release(stack.name, mode=stack.images, digests=images, contents=contents)


def recorded(release: Release, images: Mapping[str, pulumi.Input[str]]) -> dict[str, pulumi.Input[str]]:
    """Return the images for those who may use them only when the release is on record; a preview knows them as well."""
    return {name: pulumi.Output.all(image, release.urn).apply(_first) for name, image in images.items()}


def live(stack: Stack, release: Release, deployed: Sequence[pulumi.Resource]) -> Live:
    """Declare that the release runs as soon as all that was deployed is in place."""
    return Live(stack.name, release=release.newest, opts=pulumi.ResourceOptions(depends_on=deployed))


def told(release: Release, running: Live) -> pulumi.Output[list[dict[str, Any]]]:
    """Return the releases with their results, as they are when all is in place."""
    return pulumi.Output.all(release.releases, running.live, running.good).apply(
        lambda known: with_results(known[0], {"live": known[1], "good": known[2]})
    )


def _first(known: Sequence[Any]) -> str:
    return str(known[0])
