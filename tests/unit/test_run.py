"""The script `run`: what it says without making anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
