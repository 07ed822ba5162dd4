"""What each stack is made of: a table of contents. `pulumi up` runs it; so does `invoke deploy`, in its own process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pulumi

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # Pulumi runs this file from its own folder

from slipway.model.errors import SlipwayError
from slipway.model.inputs import DeployInputs
from slipway.provider.resources import Protection

from infra import releases, targets
from infra.images import images_of
from infra.secrets import secrets_of


def program(inputs: DeployInputs, instead: Mapping[str, str] = MappingProxyType({})) -> None:
    """Declare everything that the current Pulumi stack holds.

    Args:
        inputs: what the deploy goes by, read once, and proven where the stack is protected.
        instead: images (service → image) in the place of those that the stack's mode says: services whose rollout
            failed go back to what they had.
    """
    workspace, stack = inputs.workspace, inputs.stack
    protection = Protection(stack.name, stack=stack.name, protected=stack.protected)

    secrets = secrets_of(workspace, stack)
    images = images_of(inputs, instead)
    release = releases.begun(inputs, images)
    running = releases.together({**images, **inputs.beside}, protection)
    deployed = targets.deploy(workspace, stack, running, secrets)
    live = releases.live(stack, release, deployed.resources)

    pulumi.export("images", images)
    pulumi.export("urls", deployed.urls)
    pulumi.export("live", live.live)
    pulumi.export("releases", releases.told(release, live))


if __name__ == "__main__":
    from slipway.flows.byhand import inputs_by_hand

    try:
        program(inputs_by_hand(pulumi.get_stack()))
    except SlipwayError as error:
        raise pulumi.RunError("\n".join(filter(None, (error.what, error.detail, error.remedy)))) from error
