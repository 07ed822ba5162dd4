"""A bake's secrets are files that nobody else can read and that go; its failure is one error with the log."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.build import bake_runner
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import load_workspace
from slipway._internal.run.process import ProcessResult

SECRETS = """\
name = "shop"
registry = "127.0.0.1:5000"
[build.secrets]
npm = { env = "NPM_TOKEN" }
pip = { config = "pip" }
absent = { env = "NO_SUCH_TOKEN" }
"""


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    tmp_path.joinpath("workspace.toml").write_text(SECRETS)
    monkeypatch.setenv("NPM_TOKEN", "hunter22")
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    monkeypatch.setattr(bake_runner, "read_setting", lambda *words: f"of {words[2]}: {words[3]}")
    return RunContext(load_workspace(tmp_path), tmp_path / "bin", {"KEEP": "1"}, stack="dev")


def test_secrets_are_files_of_this_user_alone_while_the_build_runs(context: RunContext) -> None:
    with bake_runner.secret_files(context) as files:
        assert {name: path.read_text() for name, path in files.items()} == {
            "npm": "hunter22",
            "pip": "of dev: build:pip",
        }
        assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
        assert stat.S_IMODE(files["npm"].parent.stat().st_mode) == 0o700
    assert not any(path.exists() for path in files.values())


def test_secrets_go_also_where_the_build_fails(context: RunContext) -> None:
    paths: list[Path] = []
    with pytest.raises(RuntimeError), bake_runner.secret_files(context) as files:
        paths += files.values()
        raise RuntimeError
    assert paths and not any(path.exists() for path in paths)


def baked(context: RunContext, monkeypatch: pytest.MonkeyPatch, code: int) -> dict[str, Any]:
    """Run a bake that ends with a code, and return what its process was given."""
    given: dict[str, Any] = {}

    def run(command: list[str], *, cwd: Path, env: Mapping[str, str], on_line: Any) -> ProcessResult:
        given.update(command=command, cwd=cwd, env=env, definition=json.loads(Path(command[1]).read_text()))
        given["file"] = Path(command[1])
        return ProcessResult(code, "", "ERROR: it broke\n")

    def create(secrets: Mapping[str, Path], buildx: Path, file: Path) -> tuple[Mapping[str, Any], list[str]]:
        given["secrets"] = dict(secrets)
        return {"target": {"api": {}}}, [str(buildx), str(file)]

    monkeypatch.setattr(bake_runner, "run", run)
    try:
        bake_runner.run_bake(context, ["api"], NullReporter(), create, {"MORE": "2"})
    finally:
        assert not given["file"].exists() and not given["secrets"]["npm"].exists()
    return given


def test_the_definition_is_a_file_that_goes_and_secrets_are_not_in_the_command(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = baked(context, monkeypatch, 0)
    assert given["definition"] == {"target": {"api": {}}}
    assert given["env"] == {"KEEP": "1", "MORE": "2"} and given["cwd"] == context.workspace.root
    assert given["command"][0] == str(context.bin / "docker-buildx")
    assert "hunter22" not in f"{given['command']}{given['env']}{given['definition']}"


def test_a_bake_that_fails_is_one_error(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SlipwayError):
        baked(context, monkeypatch, 1)


def test_metadata_that_is_not_there_or_none_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "metadata.json"
    for text in (None, "[]", '{"api": 1}'):
        if text is not None:
            file.write_text(text)
        with pytest.raises(SlipwayError) as refused:
            bake_runner.read_metadata(file)
        assert "invoke doctor" in refused.value.remedy
    file.write_text('{"api": {"containerimage.digest": "sha256:1"}}')
    assert bake_runner.read_metadata(file) == {"api": {"containerimage.digest": "sha256:1"}}
