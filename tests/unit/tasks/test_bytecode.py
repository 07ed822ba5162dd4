"""Slipway's modules are compiled once, not by each command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import PYTHONPATH, TEMPLATE


@pytest.mark.parametrize(("forbidden", "kept"), [({}, True), ({"PYTHONDONTWRITEBYTECODE": "1"}, False)])
def test_byte_code_is_kept_although_invoke_keeps_none_unless_the_user_forbids_it(
    tmp_path: Path, forbidden: dict[str, str], kept: bool
) -> None:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {**inherited, "PYTHONPATH": PYTHONPATH, "PYTHONPYCACHEPREFIX": str(tmp_path), **forbidden}
    subprocess.run([sys.executable, "-m", "invoke", "--list"], cwd=TEMPLATE, env=environment, check=True)
    compiled = {path.name.partition(".")[0] for path in tmp_path.rglob("slipway/tasks/*.pyc")}
    assert ({"cache", "words"} <= compiled) is kept
