"""Puts the engine and the template's own code on the path: they are plain Python, tested where they stand."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "src" / "slipway"
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"

# A shell has what it runs in the background ignore Ctrl-C, and nohup a terminal that closes; both are handed on to all
# programs that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

sys.dont_write_bytecode = True
CODE = (str(ENGINE.parent), str(TEMPLATE))
PYTHONPATH = os.pathsep.join(CODE)
"""Where programs that tests start find the engine, and `infra` and `tasks` of the template."""
sys.path[:0] = [*CODE, str(ROOT)]

# A busy machine makes a good test slow, never wrong.
settings.register_profile("slipway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("slipway")


def pytest_configure(config: pytest.Config) -> None:
    """Have each session end with its slowest tests."""
    from tests import slowest

    config.pluginmanager.register(slowest)


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    """What one test calls a secret must not be struck out of another's texts, and its workspace is its own."""
    from slipway._internal.model import masking, workspace_path

    yield
    masking.forget_secrets()
    workspace_path.use_workspace(None)
