"""A stack on Kubernetes, brought up by the Automation API: `python clustered.py WORKSPACE STACK STATE WORD`.

WORD is `up` or `destroy`. Prints a JSON object: what Pulumi counted, the seconds of the whole and of the program that
declares the resources, how many there are, and how large the state is. The images are names: nothing runs from them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pulumi
from pulumi import automation


def main() -> None:
    """Do the work in this process."""
    root, name, state, word = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4]
    sys.path.insert(0, str(root))
    from slipway._internal.model import stack as stacks
    from slipway._internal.model import workspace as workspaces
    from slipway.pulumi import ServicesArgs, declare_services

    declared = [0.0]

    def program() -> None:
        began = time.monotonic()
        workspace = workspaces.load_workspace(root)
        images: dict[str, pulumi.Input[str]] = {
            each.name: f"{workspace.repository(each.name)}@sha256:{'0' * 64}" for each in workspace.services
        }
        declare_services(ServicesArgs(workspace, stacks.load(root, name, os.environ), images))
        declared[0] = time.monotonic() - began

    backend = automation.ProjectBackend(f"file://{state}")
    stack = automation.create_or_select_stack(
        name,
        root.name,
        program,
        opts=automation.LocalWorkspaceOptions(
            env_vars={"PULUMI_CONFIG_PASSPHRASE": "bench", "PULUMI_SKIP_UPDATE_CHECK": "true"},
            project_settings=automation.ProjectSettings(root.name, "python", backend=backend),
        ),
    )
    began = time.monotonic()
    done = stack.destroy() if word == "destroy" else stack.up()
    seconds = time.monotonic() - began
    files = [each for each in (state / ".pulumi" / "stacks").rglob("*.json") if each.is_file()]
    deployment = stack.export_stack().deployment or {}
    print(
        json.dumps(
            {
                "operations": done.summary.resource_changes,
                "seconds": seconds,
                "program": declared[0],
                "resources": len(deployment.get("resources") or []),
                "bytes": sum(each.stat().st_size for each in files),
            }
        )
    )


if __name__ == "__main__":
    main()
