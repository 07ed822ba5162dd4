"""Reads the inputs of a manual `pulumi up`: the same as for `invoke deploy`, with the same verification."""

from __future__ import annotations

import os

from slipway._internal.build.environment import prepare_tools, required_gate_tools
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import current_environment
from slipway._internal.model import stack as stacks
from slipway._internal.model import workspace as workspaces
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.release.inputs import read_inputs
from slipway._internal.run import credentials


def read_manual_inputs(name: str) -> DeployInputs:
    """Return the inputs of the program in infra/ when Pulumi itself runs it; raises what `read_inputs` raises."""
    workspace = workspaces.load_workspace(workspaces.find_root())
    stack = stacks.load(workspace.root, name, os.environ)
    credentials.check_logins(workspace)
    if tools := required_gate_tools(stack):
        prepare_tools(workspace, NullReporter(), tools, install=True)
    return read_inputs(current_environment(workspace), stack, NullReporter())
