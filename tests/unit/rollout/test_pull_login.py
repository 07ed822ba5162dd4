"""The engine pulls with the configured pull login, or else with the user's own."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from slipway._internal.rollout.images import pull_login, use_pull_config


def test_the_engine_pulls_with_the_login_for_pulling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIPWAY_PULL_CONFIG", raising=False)
    assert pull_login("r.example/shop/api@sha256:1") is None
    auth = base64.b64encode(b"puller:hush").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"r.example": {"auth": auth}}}))
    monkeypatch.setenv("SLIPWAY_PULL_CONFIG", str(tmp_path))
    found = pull_login("r.example/shop/api@sha256:1")
    assert found == {"username": "puller", "password": "hush", "serveraddress": "r.example"}
    assert pull_login("other.example/shop/api@sha256:1") == {"serveraddress": "other.example"}


def test_the_deploy_that_runs_in_this_process_names_the_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = base64.b64encode(b"puller:hush").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"r.example": {"auth": auth}}}))
    monkeypatch.delenv("SLIPWAY_PULL_CONFIG", raising=False)
    use_pull_config(tmp_path)
    try:
        assert (pull_login("r.example/shop/api@sha256:1") or {})["username"] == "puller"
    finally:
        use_pull_config(None)
    assert pull_login("r.example/shop/api@sha256:1") is None
