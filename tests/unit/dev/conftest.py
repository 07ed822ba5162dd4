"""What tests of `invoke dev` stand on: a workspace with one service."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "workspace.toml").write_text('name = "demo"\nregistry = "127.0.0.1:5000"\n')
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.dev.yaml").write_text(
        "config:\n  slipway:images: inline\n  slipway:protected: false\n"
    )
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "bases.lock.json").write_text('{"source": "hardened", "bases": {}}')
    service = tmp_path / "services" / "api"
    service.mkdir(parents=True)
    (service / "service.toml").write_text('kind = "x"\nroute = "/api"\nport = 8000\n')
    (service / "Dockerfile").write_text("FROM scratch AS run\n")
    return tmp_path
