"""The workspace's own Python: .venv, with the packages that requirements.txt locks by hash. Standard library only.

Every `invoke` calls it where it is needed; `python -m slipway.toolchain.python` does it alone.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


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
        if subprocess.run(step, check=False).returncode:
            sys.exit(
                f"✘ {' '.join(step[:4])} … failed\n"
                "  remedy  Read the lines above. On Debian and Ubuntu `apt install python3-venv` brings the module\n"
                "          that makes environments; behind a proxy set PIP_CERT and PIP_INDEX_URL."
            )


if __name__ == "__main__":
    make_venv(Path.cwd())
