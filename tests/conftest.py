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
BYTECODE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway-tests" / "bytecode"
"""Where compiled files of this repository are kept, so that not each process of each suite compiles all of it."""

# A shell has what it runs in the background ignore Ctrl-C, and nohup a terminal that closes; both are handed on to all
# programs that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# What is compiled until all tests are collected is kept, in a folder of its own: every bake copies the template's.
sys.pycache_prefix = str(BYTECODE)
sys.dont_write_bytecode = False
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


def pytest_collection_finish() -> None:
    """Keep nothing that tests write and import: it may be another file of the same size within a second.

    What tests import of installed packages is compiled beside them already.
    """
    sys.dont_write_bytecode, sys.pycache_prefix = True, None


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    """What one test calls a secret must not be struck out of another's texts, and its workspace is its own."""
    from slipway._internal.model import masking, workspace_path

    yield
    masking.forget_secrets()
    workspace_path.use_workspace(None)
