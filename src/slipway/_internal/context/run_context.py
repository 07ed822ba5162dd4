"""What a flow stands on when everything is there: the workspace, its tools, and what they need."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import credentials
from slipway._internal.toolchain import builder


@dataclass(frozen=True)
class RunContext:
    """What is there to work with.

    `bin` holds the tools, `environment` what they need; `stack` is the one whose configuration builds read.
    """

    workspace: Workspace
    bin: Path
    environment: Mapping[str, str]
    stack: str = "dev"


def current_environment(workspace: Workspace) -> RunContext:
    """Return the ground as it is, without looking whether everything is there."""
    folder = tools_folder(workspace)
    return RunContext(
        workspace,
        folder,
        {
            "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "BUILDX_CONFIG": str(builder.buildx_folder()),
            **_docker_variables(workspace),
        },
    )


def _docker_variables(workspace: Workspace) -> dict[str, str]:
    config: Path | None = None
    with suppress(ConfigError):  # that it is damaged is told by what needs it
        config = credentials.user_config_of(workspace)
    return {"DOCKER_CONFIG": str(config)} if config else {}


def tools_folder(workspace: Workspace) -> Path:
    """Return the folder with links to the tools, which stand first on the path of all that Slipway runs."""
    return workspace.scratch / "bin"
