"""Puts the template's own code on the path: it is plain Python, so it is tested where it stands."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"

# A shell has what it runs in the background ignore Ctrl-C, and that is handed on to all programs that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

sys.dont_write_bytecode = True
sys.path[:0] = [str(TEMPLATE), str(ROOT)]

# A busy machine makes a good test slow, never wrong.
settings.register_profile("slipway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("slipway")


@pytest.fixture(autouse=True)
def no_secret_is_known() -> Iterator[None]:
    """What one test calls a secret must not be struck out of another's texts."""
    from slipway.model import masking

    yield
    masking.forget_all()
