"""The workspace's own Python: .venv, with the packages that requirements.txt locks by hash. Standard library only.

Every `invoke` calls it where it is needed; `python -m slipway.toolchain.python` does it alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from slipway.run.process_environment import bypass_proxies

ELSEWHERE = ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_NO_DEPS", "PIP_DRY_RUN")
"""Variables by which Python would look, or pip install, elsewhere than in .venv, or not all of it."""


def make_venv(root: Path) -> None:
    """Make or complete the workspace's .venv, saying so; ends the program with status 1 when that fails."""
    folder = root / ".venv"
    print(
        f"Setting up {folder} with the packages that requirements.txt locks (once, about a minute).",
        flush=True,
    )
    python = folder / "bin" / "python"
    steps = [
        [sys.executable, "-m", "venv", str(folder)],
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "-r",
            str(root / "requirements.txt"),
        ],
    ]
    for step in steps[1:] if python.exists() else steps:
        if subprocess.run(step, check=False, env=_environment()).returncode:
            sys.exit(
                f"✘ {' '.join(step[:4])} … failed\n"
                "  remedy  Read the lines above. On Debian and Ubuntu `apt install python3-venv` brings the module\n"
                "          that makes environments; behind a proxy set PIP_CERT and PIP_INDEX_URL."
            )


def _environment() -> dict[str, str]:
    """Return the user's environment without what keeps packages out of .venv."""
    kept = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    bypass_proxies(kept)
    return {**kept, "PIP_USER": "0"}


if __name__ == "__main__":
    make_venv(Path.cwd())
