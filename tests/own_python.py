"""The .venv of generated workspaces: made by tasks.py from vendor/, as a user's is, and one for each lock."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway-tests" / "environments"
KEPT_SECONDS = 24 * 60 * 60
SECONDS = 900.0


def lend(workspace: Path) -> Path:
    """Give a workspace a link to the .venv of its lock, and return the Python in it."""
    link = workspace / ".venv"
    if not link.is_symlink():
        link.symlink_to(made_for(workspace))
    return link / "bin" / "python"


def made_for(workspace: Path) -> Path:
    """Return the .venv for a workspace's lock; it is kept between runs, and those of other locks for a day."""
    digest = hashlib.sha256((workspace / "requirements.txt").read_bytes()).hexdigest()
    home = KEPT / digest[:16]
    if not home.is_dir():
        partial = KEPT / f".{digest[:16]}.{os.getpid()}"
        (partial / "vendor").mkdir(parents=True)
        for file in (workspace / "requirements.txt", *(workspace / "vendor").iterdir()):
            shutil.copyfile(file, partial / file.relative_to(workspace))
        try:
            partial.rename(home)
        except OSError:  # another run was quicker
            shutil.rmtree(partial)
    shutil.copyfile(workspace / "tasks.py", home / "tasks.py")
    done = subprocess.run(
        [sys.executable, home / "tasks.py", "--list"],
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    home.touch()
    for other in KEPT.iterdir():
        if time.time() - other.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(other, ignore_errors=True)
    return home / ".venv"
