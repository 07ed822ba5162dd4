"""A folder in which git would see nothing is passed over; what git sees is never."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from slipway._internal.model.gitignore import holds_only_ignored

PATTERNS = [
    "",
    "*.log",
    "data/",
    "/services/old/data/",
    "services/*/data",
    "old",
    "**/deep/**",
    "services/**/x.log",
    "data/**",
    "*.log\n!keep.log",
    "*\n!*/\n!keep.log",
    "[xk]*.log",
    "[!k]*.log",
    "?.log",
    "\\#h.log\n#h.log\n*.log",
    "data",
    "x.log \nkeep.log\\ ",
    "/x.log",
    "a?b",
    "data/deep/*",
    "[",
]
FILES = ["x.log", "keep.log", "#h.log", "data/x.log", "data/deep/keep.log", "data/deep/er/x", "main.py"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    (tmp_path / "work").mkdir()
    subprocess.run(["git", "init", "--quiet", tmp_path / "work"], check=True)
    return tmp_path / "work"


def put(root: Path, *files: str) -> Path:
    folder = root / "services" / "old"
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


def git_sees_nothing(root: Path, folder: Path) -> bool:
    command = ["git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "--", folder]
    return not subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.parametrize("patterns", PATTERNS)
@pytest.mark.parametrize(
    "ignore_path", [".gitignore", "services/.gitignore", ".git/info/exclude", "../config/git/ignore"]
)
def test_it_agrees_with_git(root: Path, patterns: str, ignore_path: str) -> None:
    file = root / ignore_path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{patterns}\n")
    for name in FILES:
        (root / "services" / "old").mkdir(parents=True, exist_ok=True)
        folder = put(root, name)
        assert holds_only_ignored(root, folder) == git_sees_nothing(root, folder), name
        (folder / name).unlink()


@pytest.mark.parametrize(
    "file", ["__pycache__/a.pyc", "app/__pycache__/b.pyc", "node_modules/x/index.js", ".pytest_cache/v/x", "a.pyc"]
)
def test_what_tools_leave_is_left_over_without_any_ignore_file(root: Path, file: str) -> None:
    assert holds_only_ignored(root, put(root, file))


def test_an_ignore_file_in_the_folder_counts_by_itself(root: Path) -> None:
    folder = put(root, "x.log")
    (folder / ".gitignore").write_text("*\n")
    assert holds_only_ignored(root, folder) is git_sees_nothing(root, folder) is True
    (folder / ".gitignore").write_text("*.log\n")
    assert holds_only_ignored(root, folder) is git_sees_nothing(root, folder) is False


def test_folders_without_a_file_and_repositories_around_the_workspace_are_known(root: Path) -> None:
    (root / "services" / "old" / "app" / "deep").mkdir(parents=True)
    assert holds_only_ignored(root, root / "services" / "old")
    inner = root / "shop"
    (root / ".gitignore").write_text("shop/services/*/data/\n")
    folder = inner / "services" / "old"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "x").write_text("x")
    assert holds_only_ignored(inner, folder) is git_sees_nothing(root, folder) is True


@pytest.mark.parametrize("pattern", ["shop/", "shop/**", "*", "shop/*\n!shop/kept"])
def test_a_workspace_that_git_ignores_as_a_whole_is_judged_by_itself(root: Path, pattern: str) -> None:
    (root / ".gitignore").write_text(f"{pattern}\n")
    inner = root / "shop"
    folder = inner / "services" / "old"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__" / "a.pyc").write_text("x")
    (inner / "workspace.toml").write_text("")
    assert holds_only_ignored(inner, folder)
    (folder / "main.py").write_text("x")
    assert not holds_only_ignored(inner, folder)


def test_a_link_and_a_folder_that_cannot_be_read_count(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(root, "a.pyc")
    link = folder.with_name("link")
    link.symlink_to("old")
    assert not holds_only_ignored(root, link)

    def refuse(_path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr("os.scandir", refuse)
    assert not holds_only_ignored(root, folder)
