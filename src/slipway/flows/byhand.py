"""What `pulumi up` by hand goes by: what `invoke deploy` does, proven in the same way where the stack is protected."""

from __future__ import annotations

import os

from slipway.flows.ground import gate_of, prepare_tools
from slipway.flows.inputs import read_inputs
from slipway.flows.report import Silence
from slipway.flows.standing import standing
from slipway.model import stack as stacks
from slipway.model import workspace as workspaces
from slipway.model.inputs import DeployInputs
from slipway.run import credentials


def inputs_by_hand(name: str) -> DeployInputs:
    """Return what the program in infra/ goes by where Pulumi itself runs it; raises what `read_inputs` does."""
    workspace = workspaces.load(workspaces.find_root())
    stack = stacks.load(workspace.root, name, os.environ)
    credentials.export(workspace)
    if tools := gate_of(stack):
        prepare_tools(workspace, Silence(), tools, install=True)
    return read_inputs(standing(workspace), stack, Silence())
