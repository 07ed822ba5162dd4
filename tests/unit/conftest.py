"""What tests of several rooms stand on."""

from __future__ import annotations

import pytest
from tests.certificates import Authority
from tests.unit.fake_engine import FakeEngine

from slipway._internal.rollout import envoy, ownership
from slipway._internal.run import engine


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """A Docker engine in memory, which all of Slipway takes for the real one."""
    found = FakeEngine()
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setattr(engine, "client", lambda _host=None: found)
    monkeypatch.setattr(envoy, "POLL_SECONDS", 0.001)
    ownership.forget_checks()
    return found


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that issues certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))
