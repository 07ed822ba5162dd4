"""What git tells a release and a lock, on real repositories."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from slipway._internal.model.errors import EvidenceError
from slipway._internal.run import git


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
    assert git.head_commit(repository) == (repository / ".git" / head).read_text().strip()


def test_a_repository_without_a_commit_has_none(repository: Path) -> None:
    assert git.head_commit(repository) is None


def test_outside_a_repository_there_is_no_commit_and_nothing_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git.head_commit(tmp_path) is None
    assert not git.is_dirty(tmp_path)


def here_of(repository: Path) -> str:
    said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True)
    return said.stdout.strip()


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Another repository, such as the one whose hook runs."""
    folder = tmp_path_factory.mktemp("other")
    tell(folder, "init", "--quiet")
    (folder / "else").write_text("other")
    tell(folder, "add", ".")
    tell(folder, "commit", "--quiet", "--message", "other")
    return folder


@pytest.mark.parametrize(
    "variables",
    [
        {"GIT_DIR": "{other}/.git"},
        {"GIT_DIR": ".git"},
        {"GIT_DIR": "{other}/.git", "GIT_WORK_TREE": "{other}"},
        {"GIT_INDEX_FILE": "{other}/.git/index", "GIT_PREFIX": "services/"},
        {"GIT_OBJECT_DIRECTORY": "{other}/.git/objects", "GIT_COMMON_DIR": "{other}/.git"},
        {"GIT_LITERAL_PATHSPECS": "1", "GIT_NAMESPACE": "x", "GIT_TRACE": "1"},
        {"GIT_CONFIG_PARAMETERS": "'core.bare'='true'"},
    ],
    ids=" ".join,
)
def test_what_a_hook_or_a_git_around_us_works_on_is_not_the_workspace(
    repository: Path, other: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    committed(repository)
    head = here_of(repository)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(other=other))
    assert git.head_commit(repository) == head
    assert not git.is_dirty(repository, ("deploy",))
    assert git.find_commit_problem(repository) is None


def test_settings_by_variables_are_the_users_own(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"COUNT": "1", "KEY_0": "user.name", "VALUE_0": "Eve"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert git.current_user(repository) == "Eve"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_checkout_of_another_user_is_named_with_the_remedy(repository: Path) -> None:
    committed(repository)
    (repository / "services").mkdir()
    assert not git.may_have_commit_problem(repository / "services")
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 12345, 12345)
    found = git.find_commit_problem(repository / "services")
    assert found
    assert "another user" in found.message
    assert f"git config --global --add safe.directory '{repository}'" in found.remedy
    assert git.may_have_commit_problem(repository / "services")
    with pytest.raises(EvidenceError, match="cannot be determined") as caught:
        git.require_known_commit(repository)
    assert caught.value.remedy == found.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_checkout_that_is_declared_safe_is_read(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(repository)
    head = here_of(repository)
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 12345, 12345)
    for name, value in {"COUNT": "1", "KEY_0": "safe.directory", "VALUE_0": str(repository)}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert git.head_commit(repository) == head
    assert git.find_commit_problem(repository) is None


@pytest.mark.parametrize("damage", ["no HEAD", "an empty folder", "a link to nothing"])
def test_a_damaged_repository_is_not_taken_for_none(repository: Path, damage: str) -> None:
    committed(repository)
    if damage == "no HEAD":
        (repository / ".git" / "HEAD").write_text("")
    else:
        shutil.rmtree(repository / ".git")
        if damage == "an empty folder":
            (repository / ".git").mkdir()
        else:
            (repository / ".git").write_text("gitdir: /nowhere/worktrees/x\n")
    assert git.head_commit(repository) is None
    assert git.may_have_commit_problem(repository)
    assert git.find_commit_problem(repository)


def test_without_git_a_repository_is_not_taken_for_none(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(repository)
    monkeypatch.setenv("PATH", str(repository))
    found = git.find_commit_problem(repository)
    assert found
    assert (found.message, found.remedy) == ("git is not installed", "Install git.")
    assert git.may_have_commit_problem(repository)


@pytest.mark.parametrize("kind", ["none", "unborn", "detached", "worktree", "shallow", "ignored"])
def test_repositories_of_every_kind_are_known(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    checkout = tmp_path_factory.mktemp("kinds") / "there"
    head: str | None = None
    if kind != "unborn":
        committed(repository)
        head = here_of(repository)
    if kind == "detached":
        tell(repository, "checkout", "--quiet", "--detach")
    if kind == "worktree":
        tell(repository, "worktree", "add", "--quiet", str(checkout))
    elif kind == "shallow":
        tell(repository, "clone", "--quiet", "--depth=1", f"file://{repository}", str(checkout))
    elif kind == "none":
        checkout.mkdir()
        head = None
    elif kind == "ignored":
        (repository / ".gitignore").write_text("demo\n")
        checkout = repository / "demo"
        checkout.mkdir()
        head = None
    else:
        checkout = repository
    assert git.head_commit(checkout) == head
    assert git.find_commit_problem(checkout) is None
    assert not git.may_have_commit_problem(checkout)


def test_without_git_there_is_no_commit_but_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("USER", "ben")
    assert git.head_commit(tmp_path) is None
    assert git.current_user(tmp_path) == "ben"


@pytest.mark.parametrize(("file", "differs"), [(None, False), ("file", True), ("new", True), ("ignored", False)])
def test_a_changed_or_a_new_file_makes_the_tree_dirty(repository: Path, file: str | None, differs: bool) -> None:
    (repository / ".gitignore").write_text("ignored\n")
    committed(repository)
    if file:
        (repository / file).write_text("two")
    assert git.is_dirty(repository) is differs


def test_the_user_is_gits_and_else_the_systems(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ben")
    assert git.current_user(repository) == "ben"
    tell(repository, "config", "user.name", "Ann Other")
    assert git.current_user(repository) == "Ann Other"


def test_a_process_without_a_users_name_is_known_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("USER", raising=False)
    monkeypatch.setattr("getpass.getuser", nameless)
    assert re.fullmatch(r"\d+", git.current_user(tmp_path))


def test_some_folders_may_differ(repository: Path) -> None:
    committed(repository)
    (repository / "deploy").mkdir()
    (repository / "deploy" / "prod.lock.json").write_text("{}")
    assert git.is_dirty(repository)
    assert not git.is_dirty(repository, ("deploy", "policy"))


def test_a_folder_that_git_ignores_is_in_no_commit(repository: Path) -> None:
    (repository / ".gitignore").write_text("demo\n")
    committed(repository)
    (repository / "demo").mkdir()
    assert git.head_commit(repository)
    assert git.head_commit(repository / "demo") is None


def test_the_people_who_committed_lately_are_counted_once_each(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert git.count_authors(repository, 90) == 0
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2020-01-01T00:00:00")
    committed(repository)
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    for number, name in enumerate(("ann", "ben", "ann")):
        (repository / "file").write_text(str(number))
        tell(repository, "commit", "--quiet", "--all", "--author", f"{name} <{name}@localhost>", "--message", name)
    assert git.count_authors(repository, 90) == 2


def test_what_git_ignores_is_named_and_what_git_cannot_say_counts_as_a_difference(repository: Path) -> None:
    (repository / ".gitignore").write_text("ignored\n")
    committed(repository)
    (repository / "services").mkdir()
    (repository / "services" / "ignored").write_text("settings of one machine")
    assert git.list_ignored(repository, ("services", "libs")) == {"services/ignored"}
    tell(repository, "config", "status.showUntrackedFiles", "no")
    (repository / "services" / "new").write_text("in no commit")
    assert git.is_dirty(repository)
    (repository / "services" / "new").unlink()
    assert not git.is_dirty(repository)
    (repository / ".git" / "index").write_bytes(b"damaged")
    assert git.head_commit(repository) and git.is_dirty(repository)


def test_a_commit_is_the_repositorys_or_not_and_a_part_of_its_history_cannot_tell(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    committed(repository)
    first = here_of(repository)
    assert git.has_commit(repository, first) is True
    assert git.has_commit(repository, "0" * 40) is False
    tell(repository, "commit", "--quiet", "--allow-empty", "--message", "two")
    shallow = tmp_path_factory.mktemp("clone") / "shallow"
    tell(repository, "clone", "--quiet", "--depth", "1", f"file://{repository}", str(shallow))
    assert git.has_commit(shallow, first) is None


def test_outside_a_repository_no_commit_can_be_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git.has_commit(tmp_path, "0" * 40) is None
