"""Every choice that cookiecutter.json offers, baked once for all tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.bake.generate import CHOICES, generate
from tests.bake.history import History, git


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


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a made-up template's first version, and a workspace of it in git."""
    folder = tmp_path_factory.mktemp("history")
    History(folder / "template").generate(folder / "work")
    return folder


@pytest.fixture
def history(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """The made-up template's repository, for one test."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    shutil.copytree(first / "template", tmp_path / "template", symlinks=True)
    return History(tmp_path / "template")


@pytest.fixture
def shop(first: Path, history: History, tmp_path: Path) -> Path:
    """A workspace of the made-up template's first version, for one test."""
    workspace = tmp_path / "work" / "shop"
    shutil.copytree(first / "work" / "shop", workspace, symlinks=True)
    record = workspace / ".cruft.json"
    record.write_text(record.read_text().replace(str(first / "template"), str(history.folder)))
    git(workspace, "commit", "--quiet", "--all", "--amend", "--no-edit")
    return workspace
