"""What each stack is made of: a table of contents. `pulumi up` runs it; so does `invoke deploy`, in its own process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pulumi

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # Pulumi runs this file from its own folder

from infra import releases, targets
from infra.images import images_of
from infra.secrets import secrets_of
from slipway.model import stack as stacks
from slipway.model import workspace as workspaces
from slipway.model.errors import SlipwayError


def program() -> None:
    """Declare everything that the current Pulumi stack holds."""
    workspace = workspaces.load(workspaces.find_root())
    stack = stacks.load(workspace.root, pulumi.get_stack(), os.environ)

    secrets = secrets_of(workspace, stack)
    images = images_of(workspace, stack)
    release = releases.begun(workspace, stack, images)
    deployed = targets.deploy(workspace, stack, releases.together(images), secrets)
    live = releases.live(stack, release, deployed.resources)

    pulumi.export("images", images)
    pulumi.export("urls", deployed.urls)
    pulumi.export("live", live.live)
    pulumi.export("releases", releases.told(release, live))


if __name__ == "__main__":
    try:
        program()
    except SlipwayError as error:
        raise pulumi.RunError(f"{error.what}\n{error.remedy}") from error
