"""What git tells a release and a lock, on real repositories."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from slipway.run import git


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, read without this machine's own settings of git."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    tell(tmp_path, "init", "--quiet")
    return tmp_path


def tell(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=ann", "-c", "user.email=ann@localhost"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True)


def committed(repository: Path) -> None:
    (repository / "file").write_text("one")
    tell(repository, "add", ".")
    tell(repository, "commit", "--quiet", "--message", "one")


def test_the_commit_is_the_one_checked_out(repository: Path) -> None:
    committed(repository)
    head = (repository / ".git" / "HEAD").read_text().partition(" ")[2].strip()
    assert git.commit(repository) == (repository / ".git" / head).read_text().strip()


def test_a_repository_without_a_commit_has_none(repository: Path) -> None:
    assert git.commit(repository) is None


def test_outside_a_repository_there_is_no_commit_and_nothing_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git.commit(tmp_path) is None
    assert not git.dirty(tmp_path)


def test_without_git_there_is_no_commit_but_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("USER", "ben")
    assert git.commit(tmp_path) is None
    assert git.user(tmp_path) == "ben"


@pytest.mark.parametrize(("file", "differs"), [(None, False), ("file", True), ("new", True), ("ignored", False)])
def test_a_changed_or_a_new_file_makes_the_tree_dirty(repository: Path, file: str | None, differs: bool) -> None:
    (repository / ".gitignore").write_text("ignored\n")
    committed(repository)
    if file:
        (repository / file).write_text("two")
    assert git.dirty(repository) is differs


def test_the_user_is_gits_and_else_the_systems(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ben")
    assert git.user(repository) == "ben"
    tell(repository, "config", "user.name", "Ann Other")
    assert git.user(repository) == "Ann Other"


def test_a_process_without_a_users_name_is_known_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("USER", raising=False)
    monkeypatch.setattr("getpass.getuser", nameless)
    assert re.fullmatch(r"\d+", git.user(tmp_path))


def test_some_folders_may_differ(repository: Path) -> None:
    committed(repository)
    (repository / "deploy").mkdir()
    (repository / "deploy" / "prod.lock.json").write_text("{}")
    assert git.dirty(repository)
    assert not git.dirty(repository, ("deploy", "policy"))


def test_a_folder_that_git_ignores_is_in_no_commit(repository: Path) -> None:
    (repository / ".gitignore").write_text("demo\n")
    committed(repository)
    (repository / "demo").mkdir()
    assert git.commit(repository)
    assert git.commit(repository / "demo") is None


def test_the_people_who_committed_lately_are_counted_once_each(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert git.authors(repository, 90) == 0
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2020-01-01T00:00:00")
    committed(repository)
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    for number, name in enumerate(("ann", "ben", "ann")):
        (repository / "file").write_text(str(number))
        tell(repository, "commit", "--quiet", "--all", "--author", f"{name} <{name}@localhost>", "--message", name)
    assert git.authors(repository, 90) == 2


def test_what_git_ignores_is_named_and_what_git_cannot_say_counts_as_a_difference(repository: Path) -> None:
    (repository / ".gitignore").write_text("ignored\n")
    committed(repository)
    (repository / "services").mkdir()
    (repository / "services" / "ignored").write_text("settings of one machine")
    assert git.ignored(repository, ("services", "libs")) == {"services/ignored"}
    tell(repository, "config", "status.showUntrackedFiles", "no")
    (repository / "services" / "new").write_text("in no commit")
    assert git.dirty(repository)
    (repository / "services" / "new").unlink()
    assert not git.dirty(repository)
    (repository / ".git" / "index").write_bytes(b"damaged")
    assert git.commit(repository) and git.dirty(repository)
