"""No test is left out without a word: pytest passes over folders by their names, `build` among them."""

from __future__ import annotations

from fnmatch import fnmatch

import pytest
from tests.conftest import ROOT


def test_every_folder_with_tests_is_one_that_pytest_looks_into(pytestconfig: pytest.Config) -> None:
    tests = ROOT / "tests"
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    assert len(folders) > 10
    names = {name for folder in folders for name in folder.parts}
    patterns = pytestconfig.getini("norecursedirs")
    assert [name for name in sorted(names) if any(fnmatch(name, pattern) for pattern in patterns)] == []
