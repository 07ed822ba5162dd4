"""What each stack is made of: a table of contents. `pulumi up` runs it; so does `invoke deploy`, in its own process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pulumi

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # Pulumi runs this file from its own folder

from slipway.pulumi import DeployInputs, ReleaseRecord, ServicesArgs, declare_services, read_secrets, run

from infra.images import images_of


def program(inputs: DeployInputs, image_overrides: Mapping[str, str] = MappingProxyType({})) -> None:
    """Declare everything that the current Pulumi stack holds.

    Args:
        inputs: what this deploy uses: workspace, stack and lock, read once, and verified if the stack is protected.
        image_overrides: images (service → image) that replace those of the stack's mode: after a failed rollout a
            service goes back to the image it had.
    """
    workspace, stack = inputs.workspace, inputs.stack

    secrets = read_secrets(workspace, stack)
    images = images_of(inputs, image_overrides)
    record = ReleaseRecord(stack.name, inputs, images)
    services = declare_services(ServicesArgs(workspace, stack, record.images, secrets))
    record.mark_live(services.resources)

    pulumi.export("images", images)
    pulumi.export("urls", services.urls)
    pulumi.export("live", record.live)
    pulumi.export("releases", record.releases)


if __name__ == "__main__":
    run(program)
