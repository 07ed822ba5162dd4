"""What each stack is made of: a table of contents. `pulumi up` runs it; so does `invoke deploy`, in its own process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pulumi

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # Pulumi runs this file from its own folder

from slipway.pulumi import DeployInputs, Protection, run

from infra import releases, targets
from infra.images import images_of
from infra.secrets import secrets_of


def program(inputs: DeployInputs, image_overrides: Mapping[str, str] = MappingProxyType({})) -> None:
    """Declare everything that the current Pulumi stack holds.

    Args:
        inputs: what the deploy goes by, read once, and proven where the stack is protected.
        image_overrides: images (service → image) in the place of those that the stack's mode says: services whose
            rollout failed go back to what they had.
    """
    workspace, stack = inputs.workspace, inputs.stack
    protection = Protection(stack.name, stack=stack.name, protected=stack.protected)

    secrets = secrets_of(workspace, stack)
    images = images_of(inputs, image_overrides)
    release = releases.record_release(inputs, images)
    running = releases.wait_for_all_images({**images, **inputs.prebuilt_images}, protection)
    deployed = targets.deploy(workspace, stack, running, secrets)
    live = releases.mark_live(stack, release, deployed.resources)

    pulumi.export("images", images)
    pulumi.export("urls", deployed.urls)
    pulumi.export("live", live.live)
    pulumi.export("releases", releases.releases_with_results(release, live))


if __name__ == "__main__":
    run(program)
