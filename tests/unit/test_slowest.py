"""The list of a session's slowest tests says what each of them buys."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT

TESTS = '''"""What all of them buy."""

import pytest


@pytest.mark.parametrize("number", range(3))
def test_a(number):
    """It buys a.

    And more is not shown.
    """


def test_b():
    pass
'''


@pytest.mark.parametrize("options", [[], ["-n", "1"]])
def test_each_of_the_slowest_tests_is_named_with_what_it_buys(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests import slowest\nslowest.SECONDS, slowest.SHOWN = 0, 3\n"
        "def pytest_configure(config): config.pluginmanager.register(slowest)\n"
    )
    (tmp_path / "test_it.py").write_text(TESTS)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    listed = ran.stdout.partition("slowest 3 tests")[2].splitlines()[1:7]
    names = [line.partition(" s  ")[2] for line in listed[::2]]
    assert len(set(names)) == 3
    for name, buys in zip(names, listed[1::2], strict=True):
        assert buys.strip() == ("What all of them buy." if name == "test_it.py::test_b" else "It buys a.")
