"""The import contracts of pyproject.toml, which `./run lint` checks, refuse what they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.conftest import ENGINE

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
ROOM = "slipway._internal"
WRONG_IMPORTS = [
    ("tasks/show.py", "import slipway.pulumi"),
    ("context/logs.py", f"def late():\n    from {ROOM}.insight import critical_path"),
    ("prune/retention.py", f"import {ROOM}.dev.settings"),
    ("gate/scan.py", f"import {ROOM}.gate.gate_doctor"),
    ("gate/gate_doctor.py", f"import {ROOM}.gate.scan"),
    ("rollout/health.py", f"import {ROOM}.toolchain.paths"),
    ("build/bases.py", f"import {ROOM}.rollout.health"),
    ("scaffold/update.py", f"import {ROOM}.build.bases"),
    ("toolchain/paths.py", f"import {ROOM}.content.digest"),
    ("run/pulumi.py", "from infra import images"),
]
REFUSALS = {
    "What is public stands above what is not": [f"{ROOM} is not allowed to import slipway.pulumi"],
    "Rooms import what is below them": [
        f"{ROOM}.context is not allowed to import {ROOM}.insight",
        f"{ROOM}.prune is not allowed to import {ROOM}.dev",
    ],
    "No circles, neither of rooms nor within one": [f"No cycles are allowed in {ROOM}.gate"],
    "What brings containers up or judges them needs only the base layers": [
        f"{ROOM}.rollout is not allowed to import {ROOM}.toolchain"
    ],
    "What builds, records or scaffolds knows nothing of what runs": [
        f"{ROOM}.build is not allowed to import {ROOM}.rollout"
    ],
    "Scaffolding stands on the tools alone": [f"{ROOM}.scaffold is not allowed to import {ROOM}.build"],
    "The toolchain reads no sources": [f"{ROOM}.toolchain is not allowed to import {ROOM}.content"],
    "The engine knows no workspace's code": ["slipway is not allowed to import infra", f"{ROOM}.run.pulumi -> infra"],
}
"""What each contract says to the imports above."""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the engine with the wrong imports."""
    folder = tmp_path_factory.mktemp("engine")
    shutil.copytree(ENGINE, folder / "slipway", ignore=shutil.ignore_patterns("kinds", "__pycache__"))
    for file, wrong_import in WRONG_IMPORTS:
        path = folder / "slipway" / "_internal" / file
        path.write_text(f"{path.read_text(encoding='utf-8')}\n{wrong_import}\n", encoding="utf-8")
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo", ROOT / "pyproject.toml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        text=True,
        capture_output=True,
        check=False,
    )


def test_each_contract_has_an_import_here_that_it_refuses() -> None:
    assert REFUSALS.keys() == {contract["name"] for contract in CONTRACTS}


def test_a_wrong_import_fails_the_check(checked: subprocess.CompletedProcess[str]) -> None:
    assert checked.returncode == 1, checked.stderr


@pytest.mark.parametrize("contract", REFUSALS)
def test_a_contract_refuses_what_it_is_for(checked: subprocess.CompletedProcess[str], contract: str) -> None:
    assert f"{contract} BROKEN" in checked.stdout
    for refusal in REFUSALS[contract]:
        assert refusal in checked.stdout
