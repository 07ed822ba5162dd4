"""Adds the first services, as `invoke new` does, and removes what tools left behind in the template's folder."""

import shutil
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path.cwd()))

from slipway.flows.new import populate  # noqa: E402

populate(Path.cwd(), "{{ cookiecutter.services }}")

for pattern in ("__pycache__", ".*_cache"):
    for left_behind in [*Path.cwd().rglob(pattern)]:
        shutil.rmtree(left_behind, ignore_errors=True)
