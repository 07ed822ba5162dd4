"""What tests of the node stand on: nothing of it may touch the machine that they run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.toolchain.cluster import components, kernel, node


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that could have a node: root, with every program, without packet rules."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr(components, "find_missing_programs", list)
    monkeypatch.setattr(kernel, "has_foreign_chains", lambda: False)
    monkeypatch.setattr(kernel, "is_network_up", lambda: False)
    monkeypatch.setattr(node, "CLUSTER_OWNER_FILE", tmp_path / "owner")
    monkeypatch.setattr(node, "RUNTIME_FOLDER", tmp_path / "run")
