"""Where each service's image comes from: a function for each mode. No other file knows the modes; a stack names one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from slipway.pulumi import BuiltImages, DeployInputs

Images = Mapping[str, pulumi.Input[str]]
"""Service → its image, by digest."""


def images_of(inputs: DeployInputs, image_overrides: Mapping[str, str]) -> Images:
    """Return each service's image.

    Args:
        inputs: what this deploy uses: the workspace, the stack with its mode, the stack's lock.
        image_overrides: images (service → image) to use whatever the mode is.
    """
    services = [service.name for service in inputs.workspace.services]
    overrides = {name: image for name, image in image_overrides.items() if name in services}
    images_by_mode = MODES[inputs.stack.mode]
    return {**images_by_mode(inputs, [name for name in services if name not in overrides]), **overrides}


def inline(inputs: DeployInputs, services: Sequence[str]) -> Images:
    """Build from source: `pulumi up` builds what changed, pushes it, and runs it by its digest.

    Fast, but nobody has tested, scanned or signed what runs, so a protected stack refuses this mode.
    """
    return BuiltImages("images", inputs.workspace, services).refs


def external(inputs: DeployInputs, services: Sequence[str]) -> Images:
    """Deploy from the lock: Pulumi builds nothing, and runs the digests that `invoke ship` wrote to deploy/.

    Everything that runs has passed the gate. A service that is not in the lock fails the deploy.
    """
    return inputs.locked_images(services)


def hybrid(inputs: DeployInputs, services: Sequence[str]) -> Images:
    """Use the lock for the services in it, and build the others: work on one service beside released ones."""
    locked = [name for name in services if name in inputs.lock_entries]
    others = [name for name in services if name not in inputs.lock_entries]
    return {**external(inputs, locked), **inline(inputs, others)}


MODES = {"inline": inline, "external": external, "hybrid": hybrid}
