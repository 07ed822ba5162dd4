"""`python -m slipway.check` reads all files of a workspace; plain `pulumi up` reads them as a deploy does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest

import slipway.pulumi
from slipway import check
from slipway._internal.model import lock
from slipway._internal.model.errors import ConfigError, EvidenceError
from slipway._internal.model.lock import Lock
from slipway._internal.release import manual_inputs
from tests import synthetic


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    synthetic.workspace(tmp_path, 2)
    monkeypatch.chdir(tmp_path / "services")
    return tmp_path


def test_a_workspace_in_order_is_counted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main() == 0
    assert capsys.readouterr().out == "many: 2 services, 1 stacks, nothing wrong\n"


@pytest.mark.parametrize(
    ("file", "text", "code"),
    [
        ("workspace.toml", "name = ", ConfigError.exit_code),
        ("services/service-000/service.toml", 'kind = "x"\nport = "http"\n', ConfigError.exit_code),
        ("infra/Pulumi.dev.yaml", "config:\n  slipway:images: moon\n", ConfigError.exit_code),
        ("deploy/dev.lock.json", "{", EvidenceError.exit_code),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_remedy_and_exit_code(
    root: Path, capsys: pytest.CaptureFixture[str], file: str, text: str, code: int
) -> None:
    lock.save(root, Lock("dev"))
    (root / file).write_text(text, encoding="utf-8")
    assert check.main() == code
    out, err = capsys.readouterr()
    assert out == "" and file in err and len(err.splitlines()) > 1


def test_pulumi_itself_is_told_what_is_wrong_and_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise EvidenceError(f"{name}: not locked", detail="api", remedy="invoke ship")

    monkeypatch.setattr(pulumi, "get_stack", lambda: "prod")
    monkeypatch.setattr(manual_inputs, "read_manual_inputs", fail)
    with pytest.raises(pulumi.RunError, match=r"prod: not locked\napi\ninvoke ship"):
        slipway.pulumi.run(lambda _inputs: None)


def test_pulumi_itself_runs_the_program_with_what_a_deploy_goes_by(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(pulumi, "get_stack", lambda: "dev")
    monkeypatch.setattr(manual_inputs, "read_manual_inputs", lambda name: f"the inputs of {name}")
    slipway.pulumi.run(seen.append)
    assert seen == ["the inputs of dev"]
