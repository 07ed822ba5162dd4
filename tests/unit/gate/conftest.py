"""What tests of the scan stand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.context.run_context import RunContext
from slipway._internal.model.workspace import load_workspace


@pytest.fixture
def run_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    """A workspace with one service, an empty cache of Trivy's, and no Trivy."""
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n[gate]\nseconds = 5\n')
    service = tmp_path / "services" / "api"
    service.mkdir(parents=True)
    (service / "service.toml").write_text('kind = "worker"\n')
    (service / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("TRIVY_CACHE_DIR", str(tmp_path / "cache"))
    return RunContext(load_workspace(tmp_path), tmp_path / "bin", {})
