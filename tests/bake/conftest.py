"""Every choice that cookiecutter.json offers, baked once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.bake.generate import CHOICES, generate


@pytest.fixture(scope="session", params=CHOICES, ids="=".join)
def baked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace that one choice gives, all other answers being the defaults."""
    question, choice = request.param
    done = generate(tmp_path_factory.mktemp(f"{question}-{choice}"), **{question: choice})
    assert done.code == 0, done.output
    return done.workspace


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace that the defaults give."""
    done = generate(tmp_path_factory.mktemp("plain"))
    assert done.code == 0, done.output
    return done.workspace
