"""The verb adopt: what it shows, asks and writes, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.adopt.made_up import DOCKERFILE, compose_program, write
from tests.unit.tasks.conftest import ended_with

from slipway._internal.adopt import adopt as flow
from slipway._internal.model.workspace import load_workspace
from slipway._internal.tasks import show
from slipway._internal.tasks.adopt import adopt


@pytest.fixture
def folder(root: Path) -> Path:
    """A service beside the workspace."""
    (root / ".slipway").mkdir(exist_ok=True)
    return write(root.parent / f"{root.name}-shop", Dockerfile=DOCKERFILE.replace("8000", "8000\nHEALTHCHECK NONE"))


def test_nobody_to_ask_and_no_yes_writes_nothing_and_ends_with_2(
    root: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended_with(2, adopt, str(folder), offline=True, name="shop")
    out = capsys.readouterr()
    assert "services/shop" not in out.out.replace("/services/shop", "") or not (root / "services" / "shop").exists()
    assert "--yes" in out.err and not (root / "services" / "shop").exists()


def test_dry_shows_and_writes_nothing(root: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(0, adopt, str(folder), offline=True, name="shop", dry=True)
    out = capsys.readouterr().out
    assert "shop" in out and "8000" in out and "to do" in out and "[resources]" in out
    assert sorted(path.name for path in (root / "services").iterdir()) == ["service-000", "service-001"]


def test_yes_writes_and_names_the_next_step(root: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(0, adopt, str(folder), offline=True, name="shop", yes=True)
    out = capsys.readouterr().out
    assert "services/shop written" in out and "invoke up" in out and "to do" in out
    assert load_workspace(root).service("shop").settings.route == "/"


def test_a_user_who_agrees_is_asked_once(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(show, "confirm", lambda question: asked.append(question) or True)
    ended_with(0, adopt, str(folder), offline=True, name="shop")
    assert asked == ["Write services/shop?"]


def test_json_is_the_plan(root: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(0, adopt, str(folder), offline=True, name="shop", yes=True, json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["written"] is True and found["services"][0]["settings"]["port"] == 8000
    assert {"service", "fate", "where", "key", "why", "instead"} == {*found["rows"][0]}


def test_a_refused_service_ends_with_2_and_its_line(
    root: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, stack_dot_yaml="services:\n  a:\n    privileged: true\n  b: {}\n")
    services = {
        "a": {"image": "nginx", "privileged": True},
        "b": {"build": {"context": str(folder)}, "secrets": [{"source": "x"}]},
    }
    program = compose_program(folder / "tool", {"services": services, "secrets": {"x": {"external": True}}})
    monkeypatch.setattr(flow, "ensure_tool", lambda _name, **_options: program)
    ended_with(2, adopt, str(folder / "stack.yaml"), offline=True, yes=True)
    out = capsys.readouterr()
    assert "stack.yaml:3: a: `privileged`" in out.err and "refused" in out.out
    ended_with(0, adopt, str(folder / "stack.yaml"), offline=True, yes=True, skip="a")
    setup, command = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")][-2:]
    assert setup == "  invoke setup" and command.endswith("pulumi config set --secret --stack dev b:x")
    assert load_workspace(root).service("b")
