"""What tests of several rooms stand on."""

from __future__ import annotations

import pytest
from tests.unit.fake_engine import FakeEngine

from slipway._internal.rollout import nginx, ownership
from slipway._internal.run import engine


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """A Docker engine in memory, which all of Slipway takes for the real one; clients of its gateways are quick."""
    found = FakeEngine()
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setattr(engine, "client", lambda _host=None: found)
    monkeypatch.setattr(nginx, "KEEPALIVE_NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(nginx, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(nginx, "_keepalive_off", {})
    ownership.forget_checks()
    return found
