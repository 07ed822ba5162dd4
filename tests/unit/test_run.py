"""The script `run`: what it says without making anything."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[2] / "run"


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, RUN, *words], capture_output=True, text=True, check=False)


def test_help_names_the_demo_and_the_tests() -> None:
    result = call("--help")
    assert result.returncode == 0
    assert "demo [--down] [--no-install]" in result.stdout
    assert "tests" in result.stdout


def test_no_command_at_all_is_a_wrong_use() -> None:
    assert call().returncode == 2


def test_unit_tests_say_what_they_cover_and_which_modules_they_hardly_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = tmp_path / "engine"
    (engine / "kinds").mkdir(parents=True)
    (engine / "reached.py").write_text("one = 1\ntwo = 2\n")
    (engine / "half.py").write_text("def unused():\n    return 1\n\n\ndef never():\n    return 2\n")
    (engine / "kinds" / "theirs.py").write_text("three = 3\n")
    (tmp_path / "test.py").write_text(f"import sys\nsys.path[:0] = [{str(engine)!r}]\nimport half, reached\n")
    measure = ["coverage", "run", "--data-file", tmp_path / "data", "--source", engine]
    subprocess.run([sys.executable, "-m", *measure, tmp_path / "test.py"], check=True, cwd=tmp_path)

    noxfile = runpy.run_path(str(RUN.with_name("noxfile.py")))
    print_coverage = noxfile["_print_coverage"]
    monkeypatch.setitem(print_coverage.__globals__, "ROOT", tmp_path)
    monkeypatch.setitem(print_coverage.__globals__, "MEASURED", (engine,))
    print_coverage(tmp_path / "data")

    printed = capsys.readouterr().out
    assert "cover 66.7 % of 6 lines (goal: 90 %)" in printed
    assert "50 %  engine/half.py (2 of 4 lines)" in printed
    assert "reached.py" not in printed and "theirs.py" not in printed
