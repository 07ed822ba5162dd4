"""`invoke routes --engine` says what another gateway cannot have, and writes its file or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from invoke.context import Context
from invoke.exceptions import Exit
from tests.unit.kong.stack_routes import API, load
from tests.unit.model.test_routes import SERVICE

from slipway._internal.tasks.look import routes


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    load(tmp_path, API)
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    settings = ("slipway:images: inline", "slipway:target: docker", "slipway:protected: false")
    (tmp_path / "infra" / "Pulumi.dev.yaml").write_text("config:\n" + "".join(f"  {line}\n" for line in settings))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_is_what_kong_reads(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    routes(Context(), engine="kong", output="kong.yaml")
    content = yaml.safe_load((root / "kong.yaml").read_text())
    assert [service["name"] for service in content["services"]] == ["api-1", "api-2", "api-3", "web-1"]
    assert content["_format_version"] == "3.0"
    assert "kong.yaml has the routes for kong" in capsys.readouterr().err


def test_what_cannot_be_had_is_shown_route_by_route_and_nothing_is_written(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "services/api/service.toml").write_text(f'{SERVICE}[[routes]]\npath = "/api"\ntimeout = 3\n')
    routes(Context(), engine="kong", json=True)
    rows = json.loads(capsys.readouterr().out)
    assert [(row["route"], [refused["key"] for refused in row["refused"]]) for row in rows] == [
        ("/api", ["timeout"]),
        ("/", []),
    ]
    routes(Context(), engine="azure")
    shown = capsys.readouterr().out
    assert "timeout: it waits for an answer's headers alone" in shown and "✔" in shown
    with pytest.raises(Exit):
        routes(Context(), engine="kong", output="kong.yaml")
    assert "`timeout` cannot be had with Kong" in capsys.readouterr().err
    assert not (root / "kong.yaml").exists()
