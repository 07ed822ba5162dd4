"""Where full logs are kept."""

from __future__ import annotations

from pathlib import Path

from slipway._internal.model.workspace import Workspace


def logs_folder(workspace: Workspace) -> Path:
    """Return the folder of full logs."""
    return workspace.scratch / "logs"


def build_log(logs: Path, service: str) -> Path:
    """Return the file that holds a service's last build, inline or external."""
    return logs / f"{service}.build.log"
