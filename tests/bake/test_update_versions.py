"""Which version `invoke update` goes to, from which template, and what it says when it cannot know."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.bake.generate import generate
from tests.bake.history import INSIDE, History, brought, git, save, second, third

from slipway._internal.model.errors import ConfigError
from slipway._internal.scaffold.update import VersionGap, check_update, preview_update, update_workspace
from slipway._internal.scaffold.update_plan import UpdateRequest


def agree(_question: str) -> bool:
    return True


def record_of(workspace: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace / ".cruft.json").read_text())
    return found


def rewrite(workspace: Path, **keys: Any) -> None:
    """Change keys of the record, and commit."""
    (workspace / ".cruft.json").write_text(json.dumps({**record_of(workspace), **keys}, indent=2))
    save(workspace)


def behind(workspace: Path, to: str | None = None, base: str | None = None) -> VersionGap | None:
    return check_update(workspace, UpdateRequest(to, base), lambda _line: None)


def refused(workspace: Path, to: str | None = None, base: str | None = None, **answers: str) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        update_workspace(workspace, UpdateRequest(to, base, answers), lambda _line: None, agree)
    assert git(workspace, "status", "--short") == ""
    return error.value


def test_the_newest_version_is_the_one_of_the_highest_number_and_no_draft(history: History, shop: Path) -> None:
    for version in ("1.9.0", "1.10.0", "2.0.0-rc1"):
        history.release(version, {f"{INSIDE}/new.py": f"{version!r}\n"})
    history.release("1.2.0", {f"{INSIDE}/new.py": "'a correction of an old one'\n"})
    assert behind(shop) == VersionGap("v1.0.0", "v1.10.0", 2)


def test_without_versions_it_is_the_default_branch(history: History, shop: Path) -> None:
    git(history.folder, "tag", "--delete", "v1.0.0")
    newest = history.release(None, {f"{INSIDE}/new.py": "1\n"})
    found = behind(shop)
    assert found and found.new == newest[:12] and found.commits == 1
    brought(shop)
    assert record_of(shop)["commit"] == newest and record_of(shop)["checkout"] is None


def test_a_workspace_that_is_ahead_of_the_newest_version_does_not_go_back(history: History, tmp_path: Path) -> None:
    history.release(None, {f"{INSIDE}/new.py": "1\n"})
    shop = history.generate(tmp_path / "ahead")
    assert behind(shop) is None
    done = brought(shop, to="1.0.0")
    assert done.version == "v1.0.0", "it does when it is told to"
    assert not (shop / "new.py").exists()


def test_a_branch_that_was_asked_for_is_followed_and_a_version_is_not_kept_to(history: History, shop: Path) -> None:
    git(history.folder, "switch", "--quiet", "--create", "team")
    on_branch = history.release(None, {f"{INSIDE}/team.py": "1\n"})
    git(history.folder, "switch", "--quiet", "main")
    history.release("1.1.0", {f"{INSIDE}/new.py": "1\n"})
    brought(shop, to="team")
    save(shop)
    assert (record_of(shop)["commit"], record_of(shop)["checkout"]) == (on_branch, "team")
    assert behind(shop) is None
    brought(shop, to="1.1.0")
    save(shop)
    assert record_of(shop)["checkout"] == "1.1.0"
    history.release("1.2.0", {f"{INSIDE}/new.py": "2\n"})
    assert behind(shop) == VersionGap("v1.1.0", "v1.2.0", 1)


@pytest.mark.parametrize("to", ["v1.1.0", "1.1.0", "main", "{commit}", "{short}"])
def test_a_version_is_a_tag_a_branch_or_a_commit(history: History, shop: Path, to: str) -> None:
    commit = history.release("1.1.0", {f"{INSIDE}/new.py": "1\n"})
    found = behind(shop, to.format(commit=commit, short=commit[:10]))
    assert found and found.new == "v1.1.0"


def test_a_version_that_is_not_there_is_refused_with_the_newest(history: History, shop: Path) -> None:
    second(history)
    error = refused(shop, "7.0.0")
    assert "has no version '7.0.0'" in error.message and "v2.0.0" in error.remedy
    assert "has no version '--output=x'" in refused(shop, "--output=x").message


def test_another_place_is_asked_about_before_its_code_runs_and_recorded(
    history: History, shop: Path, tmp_path: Path
) -> None:
    second(history)
    other = tmp_path / "other"
    git(tmp_path, "clone", "--quiet", str(history.folder), str(other))
    asked: list[str] = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    for work in (preview_update, update_workspace):
        with pytest.raises(ConfigError, match="Nobody confirmed"):
            work(shop, UpdateRequest(f"file://{other}"), lambda _line: None, no)
    assert f"runs code of the template at file://{other} as you" in asked[0]
    assert git(shop, "status", "--short") == ""
    brought(shop, to=f"file://{other}#v2.0.0")
    record = record_of(shop)
    assert (record["template"], record["checkout"]) == (f"file://{other}", "v2.0.0")
    assert record["context"]["cookiecutter"]["_template"] == f"file://{other}"
    save(shop)
    asked.clear()
    assert update_workspace(shop, UpdateRequest("1.0.0"), lambda _line: None, no), (
        "the recorded one is not asked about again"
    )
    assert asked == []


def test_a_folder_of_this_machine_is_recorded_with_a_warning(history: History, shop: Path, tmp_path: Path) -> None:
    second(history)
    git(tmp_path, "clone", "--quiet", str(history.folder), str(tmp_path / "other"))
    done = brought(shop, to=str(tmp_path / "other"))
    assert any("which other machines do not have" in note for note in done.notes)


def test_a_template_that_another_machine_has_is_named_anew(history: History, shop: Path, tmp_path: Path) -> None:
    second(history)
    history.folder.rename(tmp_path / "moved")
    error = refused(shop)
    assert "is not on this machine" in error.message and "--to URL" in error.remedy
    assert brought(shop, to=str(tmp_path / "moved")).version == "v2.0.0"


def test_a_place_without_a_repository_is_refused(history: History, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    for location in (str(tmp_path / "plain"), "file:///not/there.git", str(tmp_path / "missing")):
        error = refused(shop, location)
        assert f"the template at {location} cannot be fetched" in error.message and "git clone" in error.remedy
    secret = refused(shop, "https://ann:hunter22@forge.example/slipway.git")
    assert "hunter22" not in f"{secret.message}{secret.remedy}{secret.detail}"


def test_a_template_that_was_no_repository_needs_to_be_named_with_the_version(history: History, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(history.folder, plain, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    shop = generate(tmp_path / "from-plain", template=plain).workspace
    git(shop, "init", "--quiet")
    save(shop)
    assert record_of(shop)["commit"] is None
    error = refused(shop)
    assert "in no git repository" in error.message and "--to URL --from VERSION" in error.remedy
    second(history)
    assert "--from VERSION" in refused(shop, str(history.folder)).remedy
    assert behind(shop, str(history.folder), "1.0.0") == VersionGap("v1.0.0", "v2.0.0", 1)
    found = update_workspace(shop, UpdateRequest(str(history.folder), "1.0.0"), lambda _line: None, agree)
    assert found and not found.conflicts
    assert record_of(shop)["template"] == str(history.folder)


def test_a_commit_that_no_branch_leads_to_any_more_is_fetched_or_asked_for(
    history: History, shop: Path, tmp_path: Path
) -> None:
    git(history.folder, "tag", "--delete", "v1.0.0")
    git(history.folder, "commit", "--quiet", "--amend", "--message", "rewritten")
    second(history)
    rewrite(shop, template=f"file://{history.folder}")  # a copy of the folder would have all its objects
    assert brought(shop).version == "v2.0.0"
    rewrite(shop, commit="1" * 40)
    error = refused(shop)
    assert "has no commit 111111111111 any more" in error.message and "--from VERSION" in error.remedy


def test_a_template_below_its_repositorys_top_is_found_there(history: History, tmp_path: Path) -> None:
    top = tmp_path / "top"
    shutil.copytree(history.folder, top / "templates" / "slipway", ignore=shutil.ignore_patterns(".git"))
    git(top, "init", "--quiet")
    save(top)
    git(top, "tag", "v1.0.0")
    shop = generate(tmp_path / "from-below", template=top / "templates" / "slipway").workspace
    git(shop, "init", "--quiet")
    save(shop)
    assert (record_of(shop)["template"], record_of(shop)["directory"]) == (str(top), "templates/slipway")
    (top / "templates" / "slipway" / INSIDE / "new.py").write_text("1\n")
    save(top)
    git(top, "tag", "v1.1.0")
    brought(shop)
    assert (shop / "new.py").is_file() and record_of(shop)["directory"] == "templates/slipway"


def test_a_workspace_from_a_url_records_the_url_and_no_clone(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    third(history)
    git(tmp_path, "clone", "--quiet", "--bare", str(history.folder), str(tmp_path / "slipway.git"))
    url = f"file://{tmp_path}/slipway.git"
    words = [url, "--checkout", "v1.0.0"]
    shop = generate_from(tmp_path / "from-url", words)
    record = record_of(shop)
    assert (record["template"], record["checkout"]) == (url, "v1.0.0")
    assert record["commit"] == git(history.folder, "rev-parse", "v1.0.0").strip()
    assert str(tmp_path / "home") not in (shop / ".cruft.json").read_text()
    git(shop, "init", "--quiet")
    save(shop)
    brought(shop)
    fresh = generate_from(tmp_path / "fresh", [url])
    assert (shop / ".cruft.json").read_bytes() == (fresh / ".cruft.json").read_bytes()


def generate_from(folder: Path, words: list[str]) -> Path:
    done = generate(folder, words=words)
    assert done.code == 0, done.output
    return done.workspace


def test_answers_that_the_new_version_refuses_are_told_with_its_reason(history: History, shop: Path) -> None:
    questions = '{"project_slug": "shop", "colour": ["green", "blue"], "_extensions": ["shop_extensions.Record"]}'
    history.release("1.1.0", {"cookiecutter.json": questions})
    error = refused(shop)
    assert "could not be rendered with this workspace's answers" in error.message
    assert "red provided for choice variable colour" in error.detail and "--answer" in error.remedy
    assert brought(shop, colour="blue").version == "v1.1.0"


def test_an_answer_to_no_question_is_refused(history: History, shop: Path) -> None:
    second(history)
    error = refused(shop, color="blue")
    assert "does not ask for color" in error.message and "project_slug, colour" in error.remedy


def test_a_record_that_is_none_is_refused(history: History, shop: Path) -> None:
    for text, reason in (("{", "no record of a template"), ('{"template": 1}', "Expected `str`, got `int`")):
        (shop / ".cruft.json").write_text(text)
        save(shop)
        assert reason in refused(shop).message
    (shop / ".cruft.json").unlink()
    save(shop)
    error = refused(shop)
    assert "is missing" in error.message and "git log --all" in error.remedy
