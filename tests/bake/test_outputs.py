"""A workspace is generated wherever the output of cookiecutter goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.bake.generate import generate


@pytest.mark.parametrize(
    "variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "cp1252"}]
)
def test_an_output_that_is_not_utf8_keeps_nothing_from_being_generated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = generate(tmp_path / "out", project_slug="shop")
    assert done.code == 0, done.output
    assert "? shop is there" in done.output
    assert (done.workspace / "services" / "api" / "service.toml").is_file()
