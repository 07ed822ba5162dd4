"""The folders on this machine that belong to Slipway: cached tools, and the state of what it runs."""

from __future__ import annotations

import os
from pathlib import Path


def tools_path() -> Path:
    """Return the folder of cached tools: TOOL/VERSION/BINARY below it (`XDG_CACHE_HOME` is honoured)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway" / "tools"


def state_path(name: str) -> Path:
    """Return the folder of one daemon's pid, log, configuration and data (`XDG_STATE_HOME` is honoured)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "slipway" / name
