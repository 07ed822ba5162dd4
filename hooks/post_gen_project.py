"""Adds the workspace's first services, the way `invoke new` does."""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path.cwd()))

from slipway.flows.new import populate  # noqa: E402

populate(Path.cwd(), "{{ cookiecutter.services }}")
