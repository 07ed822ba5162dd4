"""What the doctor says of the gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.gate import gate_doctor
from slipway._internal.model.workspace import Workspace, WorkspaceSettings


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("TRIVY_CACHE_DIR", str(tmp_path / "trivy"))
    (tmp_path / "policy" / "keys").mkdir(parents=True)
    (tmp_path / "infra").mkdir()
    return Workspace(tmp_path, WorkspaceSettings("demo", "127.0.0.1:5000"), ())


def test_what_ship_gets_by_itself_is_not_wrong(workspace: Workspace) -> None:
    found = {fact.name: fact for fact in gate_doctor.gate_facts(workspace)}
    assert all(fact.ok for fact in found.values())
    assert "trusts nobody yet" in found["policy"].found
    assert "missing" in found["scan database"].found


def test_a_file_that_is_no_key_is_wrong_and_named(workspace: Workspace) -> None:
    (workspace.root / "policy" / "keys" / "me.pub").write_text("hello")
    found = {fact.name: fact for fact in gate_doctor.gate_facts(workspace)}
    assert not found["trust"].ok
    assert "me.pub" in found["trust"].found and found["trust"].remedy
