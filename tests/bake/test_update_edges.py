"""`invoke update` in workspaces that are not as most are: odd files, odd checkouts, odd places to stand in."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.bake.history import (
    INSIDE,
    History,
    brought,
    changed,
    edit,
    files_in,
    git,
    save,
    second,
    status,
    third,
)
from tests.bake.test_update_stops import SECONDS, spawn

from slipway._internal.model.errors import ConfigError
from slipway._internal.scaffold.update import VersionGap, check_update, preview_update, update_workspace
from slipway._internal.scaffold.update_apply import UNDO
from slipway._internal.scaffold.update_plan import UpdateRequest

MAIN = f"{INSIDE}/infra/main.py"
THEIRS = changed("infra/main.py", "line_2 = 2\n", "line_2 = 'theirs'\n")


def agree(_question: str) -> bool:
    return True


def said_by(workspace: Path, *words: str, code: int) -> tuple[str, str]:
    """Run a verb, which ends with a code, and return what it prints and what it says beside that."""
    command = spawn(workspace, *words, apart=True)
    out, beside = command.communicate(timeout=SECONDS)
    assert command.returncode == code, f"{out}{beside}"
    return out, beside


def undo(workspace: Path) -> None:
    subprocess.run(["git", *UNDO.split()], cwd=workspace, check=True)


# Files


def test_a_link_in_the_place_of_a_file_is_a_conflict_and_what_it_points_to_is_not_written(
    history: History, shop: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text("another's\n")
    (shop / "infra/main.py").unlink()
    (shop / "infra/main.py").symlink_to(outside)
    save(shop)
    before = files_in(shop)
    history.release("1.1.0", THEIRS)
    done = brought(shop)
    assert done.conflicts and "infra/main.py" in done.conflicts[0]
    assert outside.read_text() == "another's\n"
    undo(shop)
    assert files_in(shop) == before and status(shop) == []


def test_nothing_is_written_through_a_folder_that_is_a_link(history: History, shop: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(shop / "infra/policy")
    (shop / "infra/policy").symlink_to(outside)
    save(shop)
    history.release("1.1.0", {f"{INSIDE}/infra/policy/one.py": "ONE = 11\n", f"{INSIDE}/infra/policy/two.py": "TWO\n"})
    done = brought(shop)
    assert done.notes == ["infra/policy/ stays deleted; the new template adds 1 file there"] and not done.conflicts
    assert [*outside.iterdir()] == [] and (shop / "infra/policy").is_symlink()


def test_lines_that_end_as_the_checkout_wants_stay_so(history: History, shop: Path) -> None:
    git(shop, "config", "core.autocrlf", "true")
    (shop / "infra/main.py").unlink()
    git(shop, "checkout", "--", "infra/main.py")
    assert b"\r\n" in (shop / "infra/main.py").read_bytes()
    edit(shop, "infra/main.py", "line_25 = 25", "line_25 = 'ours'")
    save(shop)
    history.release("1.1.0", {**THEIRS, f"{INSIDE}/fresh.py": "FRESH = 1\n"})
    assert not brought(shop).conflicts
    text = (shop / "infra/main.py").read_bytes()
    assert b"line_2 = 'theirs'\r\n" in text and b"line_25 = 'ours'\r\n" in text
    assert text.count(b"\n") == text.count(b"\r\n")
    assert (shop / "fresh.py").read_bytes() == b"FRESH = 1\r\n"
    assert git(shop, "diff", "--name-only") == "", "what stands in the index stands in the files"


def test_a_file_that_the_team_committed_with_other_line_ends_is_a_conflict_and_not_lost(
    history: History, shop: Path
) -> None:
    ours = (shop / "infra/main.py").read_bytes().replace(b"\n", b"\r\n")
    (shop / "infra/main.py").write_bytes(ours)
    save(shop)
    history.release("1.1.0", THEIRS)
    assert len(brought(shop).conflicts) == 1
    undo(shop)
    assert (shop / "infra/main.py").read_bytes() == ours


def test_renames_are_followed_whatever_this_machines_git_is_told(
    history: History, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gitconfig").write_text("[merge]\n\trenames = false\n[diff]\n\trenames = false\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    edit(shop, "infra/main.py", "line_25 = 25", "line_25 = 'ours'")
    save(shop)
    history.rename("infra/main.py", "infra/program.py")
    history.commit("1.1.0")
    assert not brought(shop).conflicts
    assert "line_25 = 'ours'" in (shop / "infra/program.py").read_text()


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
def test_changes_that_git_is_told_to_overlook_are_not_written_over(history: History, shop: Path, mark: str) -> None:
    git(shop, "update-index", mark, "infra/main.py", "run.sh")
    edit(shop, "infra/main.py", "line_25 = 25", "line_25 = 'in no commit'")
    assert status(shop) == []
    history.release("1.1.0", THEIRS)
    for work in (preview_update, update_workspace):
        with pytest.raises(ConfigError, match=r"told not to look at files that the update changes: infra/main\.py$"):
            work(shop, UpdateRequest(), print, agree)
    assert "line_25 = 'in no commit'" in (shop / "infra/main.py").read_text()
    git(shop, "update-index", "--no-assume-unchanged", "infra/main.py")
    git(shop, "update-index", "--no-skip-worktree", "infra/main.py")
    save(shop)
    assert not brought(shop).conflicts, "a mark on a file that the update leaves alone is no hindrance"


def test_a_file_that_both_sides_add_is_a_conflict(history: History, shop: Path) -> None:
    (shop / "infra/fresh.py").write_text("FRESH = 'ours'\n")
    save(shop)
    history.release("1.1.0", {f"{INSIDE}/infra/fresh.py": "FRESH = 'theirs'\n"})
    (conflict,) = brought(shop).conflicts
    assert conflict.startswith("infra/fresh.py: ")
    assert "UU" in " ".join(status(shop)) or "AA" in " ".join(status(shop))
    text = (shop / "infra/fresh.py").read_text()
    assert "FRESH = 'ours'\n" in text and "FRESH = 'theirs'\n" in text and "<<<<<<< " in text


def test_conflicts_that_nobody_mended_are_not_up_to_date(history: History, shop: Path) -> None:
    edit(shop, "infra/main.py", "line_2 = 2\n", "line_2 = 'ours'\n")
    save(shop)
    history.release("1.1.0", THEIRS)
    assert len(brought(shop).conflicts) == 1
    _, beside = said_by(shop, "update", "--check", code=1)
    assert "files are in conflict: infra/main.py" in beside and "restore --source=HEAD" in beside
    with pytest.raises(ConfigError, match=r"uncommitted changes: .*infra/main\.py"):
        update_workspace(shop, UpdateRequest(), print, agree)
    (shop / "infra/main.py").write_text("mended = True\n")
    save(shop)
    said_by(shop, "update", "--check", code=0)


# Checkouts


def test_a_detached_head_is_as_good_as_a_branch(history: History, shop: Path) -> None:
    git(shop, "checkout", "--quiet", "--detach")
    before = files_in(shop)
    second(history)
    assert not brought(shop).conflicts
    assert (shop / "infra/added.py").is_file()
    undo(shop)
    assert files_in(shop) == before and status(shop) == []


def test_a_worktree_of_the_workspaces_repository_is_updated_alone(history: History, shop: Path, tmp_path: Path) -> None:
    other = tmp_path / "worktree"
    git(shop, "worktree", "add", "--quiet", "-b", "update", str(other))
    second(history)
    assert not brought(other).conflicts
    assert (other / "infra/added.py").is_file() and not (shop / "infra/added.py").exists()
    assert status(shop) == []
    save(other)
    assert check_update(other, UpdateRequest(), print) is None


def test_without_git_the_user_is_told_to_install_it(
    history: History, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second(history)
    before = files_in(shop)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    for look in (
        lambda: update_workspace(shop, UpdateRequest(), print, agree),
        lambda: check_update(shop, UpdateRequest(), print),
    ):
        with pytest.raises(ConfigError, match="git is not installed") as refused:
            look()
        assert "Install git" in refused.value.remedy
    assert files_in(shop) == before


def test_from_a_folder_below_the_workspace_is_updated_whole_and_the_undo_that_is_printed_works_there(
    history: History, shop: Path
) -> None:
    second(history)
    before = files_in(shop)
    out, _ = said_by(
        shop,
        "update",
        code=0,
    )
    undo(shop)
    command = spawn(shop, "update", below="infra")
    out, _ = command.communicate(timeout=SECONDS)
    assert command.returncode == 0, out
    assert (shop / "tasks.py").read_text() == "VERSION = 2\n"
    (line,) = (line for line in out.splitlines() if line.startswith("  undo "))
    subprocess.run(shlex.split(line.partition("undo")[2]), cwd=shop / "infra", check=True)
    assert files_in(shop) == before and status(shop) == []


# Templates


@pytest.mark.parametrize(
    "form", ["{folder}/slipway.git", "file://{folder}/slipway.git", "../slipway.git", "slipway.git"]
)
def test_a_bare_repository_is_a_template_by_its_path_or_url(
    history: History, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    second(history)
    third(history)
    git(tmp_path, "clone", "--quiet", "--bare", str(history.folder), str(tmp_path / "slipway.git"))
    stand = tmp_path if form == "slipway.git" else tmp_path / "stand"
    stand.mkdir(exist_ok=True)
    monkeypatch.chdir(stand)
    location = form.format(folder=tmp_path)
    recorded = location if "://" in location else str(tmp_path / "slipway.git")
    assert brought(shop, to=f"{location}#2.0.0").version == "v2.0.0"
    save(shop)
    assert record_of(shop)["template"] == recorded
    monkeypatch.chdir("/")
    assert check_update(shop, UpdateRequest(), print) == VersionGap("v2.0.0", "v3.0.0", 1)
    assert brought(shop).version == "v3.0.0", "the recorded place is asked from then on"


def test_a_template_out_of_reach_is_exit_code_2_and_changes_nothing(history: History, shop: Path) -> None:
    edit(shop, ".cruft.json", str(history.folder), "https://127.0.0.1:9/acme/slipway.git")
    save(shop)
    before = files_in(shop)
    for words in (("update",), ("update", "--check"), ("update", "--dry")):
        out, beside = said_by(shop, *words, code=2)
        assert "https://127.0.0.1:9/acme/slipway.git cannot be fetched" in beside and "✔" not in out
    assert files_in(shop) == before and status(shop) == []


def test_an_answer_that_is_the_recorded_one_is_nothing_to_do(shop: Path) -> None:
    assert update_workspace(shop, UpdateRequest(answers={"colour": "red"}), print, agree) is None
    assert check_update(shop, UpdateRequest(answers={"colour": "blue"}), print) is None, "no version is newer"


def record_of(workspace: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace / ".cruft.json").read_text())
    return found


def test_of_a_workspace_without_a_record_the_guessed_answers_are_told_and_can_be_corrected(
    history: History, tmp_path: Path
) -> None:
    ci = '{"project_slug": "shop", "ci": ["none", "gitlab", "github"], "_extensions": ["shop_extensions.Record"]}'
    history.release(
        "1.1.0",
        {"cookiecutter.json": ci, f"{INSIDE}/ci.toml": 'ci = "{{ cookiecutter.ci }}"\n'}
        | {f"{INSIDE}/workspace.toml": 'name = "{{ cookiecutter.project_slug }}"\n'},
    )
    shop = history.generate(tmp_path / "team", ci="gitlab", project_slug="stall")
    history.release("1.2.0", {f"{INSIDE}/ci.toml": 'system = "{{ cookiecutter.ci }}"\n'})
    (shop / ".cruft.json").unlink()
    save(shop)
    with pytest.raises(ConfigError, match=r"\.cruft\.json is missing") as refused:
        update_workspace(shop, UpdateRequest(), print, agree)
    assert "git log --all" in refused.value.remedy and "--from VERSION" in refused.value.remedy
    with pytest.raises(ConfigError, match="was made from is unknown"):
        update_workspace(shop, UpdateRequest(str(history.folder)), print, agree)
    lines: list[str] = []
    guessed = update_workspace(shop, UpdateRequest(str(history.folder), "1.1.0"), lines.append, agree)
    (answers,) = (line for line in lines if "Its files say" in line)
    assert "  project_slug = stall\n  ci = none\n" in answers and "--answer QUESTION=ANSWER" in answers
    assert guessed and guessed.conflicts, "the workspace's file is not what the guess gives"
    undo(shop)
    (shop / ".cruft.json").unlink(missing_ok=True)
    corrected = UpdateRequest(str(history.folder), "1.1.0", {"ci": "gitlab"})
    lines.clear()
    done = update_workspace(shop, corrected, lines.append, agree)
    assert done and not done.conflicts and "  ci = gitlab\n" in "".join(lines)
    assert (shop / "ci.toml").read_text() == 'system = "gitlab"\n'
    assert record_of(shop)["context"]["cookiecutter"]["ci"] == "gitlab"
    save(shop)
    assert check_update(shop, UpdateRequest(), print) is None, "it has a record now"


# What programs read


def test_check_prints_json_with_the_same_keys_and_exit_code_as_in_words(history: History, shop: Path) -> None:
    out, _ = said_by(shop, "update", "--check", "--json", code=0)
    assert json.loads(out) == {"behind": False, "from": None, "to": None, "commits": 0}
    second(history)
    out, beside = said_by(shop, "update", "--check", "--json", code=1)
    assert json.loads(out) == {"behind": True, "from": "v1.0.0", "to": "v2.0.0", "commits": 1}
    assert "Fetching the template" in beside


def test_dry_prints_json_of_every_file_and_of_conflicts(history: History, shop: Path) -> None:
    edit(shop, "infra/main.py", "line_3 = 3\n", "line_3 = 'ours'\n")
    save(shop)
    out, _ = said_by(shop, "update", "--dry", "--json", code=0)
    assert json.loads(out) == {"version": None, "changes": [], "conflicts": [], "notes": [], "news": []}
    second(history)
    before = files_in(shop)
    out, beside = said_by(shop, "update", "--dry", "--json", code=1)
    found = json.loads(out)
    kinds = {change["path"]: change["kind"] for change in found["changes"]}
    assert found["version"] == "v2.0.0" and found["news"] == ["## 2.0.0", "- The second."]
    assert kinds["infra/main.py"] == "conflict" and kinds["infra/added.py"] == "added"
    assert kinds["infra/rules.py"] == "deleted" and kinds["tasks.py"] == "changed"
    assert [line.partition(":")[0] for line in found["conflicts"]] == ["infra/main.py"]
    assert "would be in conflict" in beside
    assert files_in(shop) == before
    out, _ = said_by(shop, "update", "--json", code=1)
    assert json.loads(out)["changes"] == found["changes"], "it does what it said"


# Other tools that know the record


def test_the_record_itself_is_skipped_by_tools_that_merge_files_of_a_template(history: History, shop: Path) -> None:
    assert record_of(shop)["skip"] == [".cruft.json"]
    edit(shop, ".cruft.json", '    ".cruft.json"\n', '    "docs"\n')
    save(shop)
    second(history)
    brought(shop)
    assert record_of(shop)["skip"] == [".cruft.json", "docs"], "one that lacks it gets it"
