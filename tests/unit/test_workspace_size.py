"""A workspace holds what a team owns, and no more than one can read in an afternoon."""

from __future__ import annotations

from tests.conftest import TEMPLATE

MAX_FILES, MAX_PYTHON_LINES = 70, 1500
ADDED_BY_HOOKS = 3
"""The engine's wheel, and the files of a CI system at most."""


def test_a_workspace_before_its_services_is_small() -> None:
    files = [
        path
        for path in TEMPLATE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.match("*_cache/*")
    ]
    assert len(files) + ADDED_BY_HOOKS <= MAX_FILES, len(files)
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files if path.suffix == ".py")
    assert 100 < lines <= MAX_PYTHON_LINES
