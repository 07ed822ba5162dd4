"""What `invoke up` does for a workspace's images, and nothing of its containers: run it in the workspace's folder.

The product's own declaration of images, through its own door to Pulumi, in a stack of its own (`images`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path.cwd()
sys.path.insert(0, str(ROOT))

import pulumi

from infra.images import images_of
from slipway.flows.standing import standing
from slipway.model import stack as stacks
from slipway.model import workspace as workspaces
from slipway.run.pulumi import Door

workspace = workspaces.load(ROOT)
stack = stacks.load(ROOT, "images", os.environ)
here = standing(workspace)


def program() -> None:
    """Declare the images."""
    pulumi.export("images", images_of(workspace, stack))


log = workspace.scratch / "logs" / "images.log"
door = Door(workspace, stack, program, command=here.bin / "pulumi", log=log, environment=here.environment)
print(door.up(lambda _event: None).operations)
