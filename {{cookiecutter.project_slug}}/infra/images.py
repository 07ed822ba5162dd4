"""Where each service's image comes from. This file alone knows the three modes; a stack's file names one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from slipway.pulumi import BuiltImages, DeployInputs

Images = Mapping[str, pulumi.Input[str]]
"""Service → its image, by digest."""


def images_of(inputs: DeployInputs, image_overrides: Mapping[str, str]) -> Images:
    """Return each service's image.

    Args:
        inputs: what the deploy goes by: the workspace, the stack with its mode, the stack's lock.
        image_overrides: images (service → image) that count whatever the mode says.
    """
    services = [service.name for service in inputs.workspace.services]
    overrides = {name: image for name, image in image_overrides.items() if name in services}
    images_by_mode = MODES[inputs.stack.mode]
    return {**images_by_mode(inputs, [name for name in services if name not in overrides]), **overrides}


def inline(inputs: DeployInputs, services: Sequence[str]) -> Images:
    """The sources decide: `pulumi up` builds what changed, pushes it, and runs it by its digest.

    Quick to work with, and nobody has tested, scanned or signed what runs: a protected stack refuses it.
    """
    return BuiltImages("images", inputs.workspace, services).refs


def external(inputs: DeployInputs, services: Sequence[str]) -> Images:
    """The lock decides: Pulumi builds nothing, and runs what `invoke ship` has put into deploy/<stack>.lock.json.

    What runs is what the gate has tested, scanned and signed; a service that is not in the lock ends the deploy.
    """
    return inputs.locked_images(services)


def hybrid(inputs: DeployInputs, services: Sequence[str]) -> Images:
    """The lock decides for the services in it, the sources for the others: work on one beside released ones."""
    locked = [name for name in services if name in inputs.lock_entries]
    others = [name for name in services if name not in inputs.lock_entries]
    return {**external(inputs, locked), **inline(inputs, others)}


MODES = {"inline": inline, "external": external, "hybrid": hybrid}
