"""An empty Pulumi program, brought up by the Automation API: `python empty.py STATE`."""

from __future__ import annotations

import sys

from pulumi import automation

stack = automation.create_or_select_stack(
    "dev",
    "empty",
    lambda: None,
    opts=automation.LocalWorkspaceOptions(
        env_vars={"PULUMI_CONFIG_PASSPHRASE": "bench", "PULUMI_SKIP_UPDATE_CHECK": "true"},
        project_settings=automation.ProjectSettings(
            "empty", "python", backend=automation.ProjectBackend(f"file://{sys.argv[1]}")
        ),
    ),
)
print(stack.up().summary.resource_changes)
