"""`invoke update` as a flow: what it goes to, what it refuses, what it leaves; rendering is a made-up template's."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.scaffold.made_up import FILES, INSIDE, WHEEL, Template, fill_in, git, save, status, undo

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.files import WriteError
from slipway._internal.scaffold import package_lock, update_apply, update_plan
from slipway._internal.scaffold.update import (
    VersionGap,
    check_update,
    interrupted_update,
    preview_update,
    update_workspace,
)
from slipway._internal.scaffold.update_apply import UpdatePlan, journal_path
from slipway._internal.scaffold.update_plan import EDITS, UpdateRequest, parse_answers

MAIN = FILES["main.py"]
THEIRS = MAIN.replace("line_2 = 2\n", "line_2 = 'theirs'\n")


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Template:
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setattr(update_plan, "render_template", fill_in)
    return Template(tmp_path / "template")


@pytest.fixture
def shop(template: Template, tmp_path: Path) -> Path:
    return template.generate(tmp_path / "shop")


def quiet(_line: str) -> None: ...


def agree(_question: str) -> bool:
    return True


def update(workspace: Path, to: str | None = None, base: str | None = None, **answers: str) -> UpdatePlan:
    found = update_workspace(workspace, UpdateRequest(to, base, answers), quiet, agree)
    assert found
    return found


def check(workspace: Path, to: str | None = None, base: str | None = None) -> VersionGap | None:
    return check_update(workspace, UpdateRequest(to, base), quiet)


def record_of(workspace: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace / ".cruft.json").read_text())
    return found


def ours(workspace: Path) -> None:
    """Change a line that the template's next version changes, too."""
    (workspace / "main.py").write_text(MAIN.replace("line_2 = 2\n", "line_2 = 'ours'\n"))
    save(workspace)


# What it goes to


def test_check_says_how_many_commits_a_workspace_is_behind_and_nothing_where_it_is_not(
    template: Template, shop: Path
) -> None:
    assert check(shop) is None
    template.release(None, {}, {"main.py": THEIRS})
    assert check(shop) is None, "there is no version tag yet"
    template.release("1.1.0", {}, {"added.py": "ADDED = 1\n"})
    assert check(shop) == VersionGap("v1.0.0", "v1.1.0", 2)
    assert status(shop) == []


def test_an_update_merges_the_versions_difference_and_records_where_it_is(template: Template, shop: Path) -> None:
    (shop / "main.py").write_text(MAIN.replace("line_25 = 25\n", "line_25 = 'ours'\n"))
    save(shop)
    changes = {"CHANGELOG.md": "# Changelog\n\n## 2.0.0\n\n- The second.\n\n## 1.0.0\n\n- The first.\n"}
    inside = {"main.py": THEIRS, "added.py": "ADDED = 1\n", WHEEL.format(1): None, WHEEL.format(2): "engine two\n"}
    commit = template.release("2.0.0", changes, inside)
    found = update(shop)
    assert (found.version, found.news, found.conflicts) == ("v2.0.0", ["## 2.0.0", "- The second."], [])
    text = (shop / "main.py").read_text()
    assert "line_2 = 'theirs'\n" in text and "line_25 = 'ours'\n" in text
    assert [path.name for path in (shop / "vendor").iterdir()] == [Path(WHEEL.format(2)).name]
    assert record_of(shop)["commit"] == commit
    assert {change.path: change.kind for change in found.changes} == {
        ".cruft.json": "changed",
        "added.py": "added",
        "main.py": "changed",
        WHEEL.format(1): "deleted",
        WHEEL.format(2): "added",
    }
    save(shop)
    assert update_workspace(shop, UpdateRequest(), quiet, agree) is None


def test_an_older_version_comes_back_only_when_it_is_asked_for(template: Template, tmp_path: Path) -> None:
    template.release("1.1.0", {}, {"main.py": THEIRS})
    shop = template.generate(tmp_path / "newer")
    assert check(shop) is None
    update(shop, "1.0.0")
    assert (shop / "main.py").read_text() == MAIN and record_of(shop)["checkout"] == "1.0.0"


def test_a_branch_that_the_record_names_is_followed(template: Template, shop: Path) -> None:
    git(template.folder, "switch", "--quiet", "--create", "team")
    commit = template.release(None, {}, {"team.py": "TEAM = 1\n"})
    git(template.folder, "switch", "--quiet", "main")
    template.release("1.1.0", {}, {"main.py": THEIRS})
    update(shop, "team")
    assert (record_of(shop)["commit"], record_of(shop)["checkout"]) == (commit, "team")
    save(shop)
    assert check(shop) is None


def test_a_template_without_version_tags_is_followed_on_its_default_branch(template: Template, shop: Path) -> None:
    git(template.folder, "tag", "--delete", "v1.0.0")
    commit = template.release(None, {}, {"main.py": THEIRS})
    assert update(shop).version == commit[:12]


@pytest.mark.parametrize(
    ("request_", "said", "remedy"),
    [
        (UpdateRequest("7.0.0"), "has no version '7.0.0'", "newest version is v1.1.0"),
        (UpdateRequest(base="7.0.0"), "has no version '7.0.0'", "--from VERSION"),
        (UpdateRequest(answers={"color": "red"}), "does not ask for color", "project_slug, ci"),
        (UpdateRequest("/nowhere/at/all"), "cannot be fetched", "`--to` takes a git repository"),
        (UpdateRequest(answers={"ci": "bad"}), "the new template (v1.1.0) could not be rendered", "--answer"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_changed(
    template: Template, shop: Path, request_: UpdateRequest, said: str, remedy: str
) -> None:
    template.release("1.1.0", {}, {"main.py": THEIRS})
    with pytest.raises(ConfigError) as refused:
        update_workspace(shop, request_, quiet, agree)
    assert said in refused.value.message and remedy in refused.value.remedy
    assert status(shop) == [] and (shop / "main.py").read_text() == MAIN


def test_a_commit_that_the_template_lost_asks_for_the_version(template: Template, shop: Path) -> None:
    template.release("1.1.0", {}, {"main.py": THEIRS})
    template.record(shop, {"project_slug": "shop", "ci": "none"}, commit="1" * 40)
    save(shop)
    with pytest.raises(ConfigError, match="has no commit 111111111111 any more") as refused:
        check(shop)
    assert "--from VERSION" in refused.value.remedy
    assert check(shop, base="1.0.0") == VersionGap("v1.0.0", "v1.1.0", 1)


def test_a_template_without_a_repository_is_named_with_its_version(template: Template, shop: Path) -> None:
    template.record(shop, {"project_slug": "shop"}, commit=None, template="https://forge.example/slipway.zip")
    save(shop)
    with pytest.raises(ConfigError, match="which is in no git repository") as refused:
        check(shop)
    assert "--to URL --from VERSION" in refused.value.remedy
    template.release("1.1.0", {}, {"main.py": THEIRS})
    assert check(shop, str(template.folder), "1.0.0") == VersionGap("v1.0.0", "v1.1.0", 1)


def test_a_template_that_moved_on_this_disk_is_named_anew_and_asked_about(
    template: Template, shop: Path, tmp_path: Path
) -> None:
    template.release("1.1.0", {}, {"main.py": THEIRS})
    template.folder.rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match="which is not on this machine"):
        check(shop)
    asked: list[str] = []

    def refuse(question: str) -> bool:
        asked.append(question)
        return False

    with pytest.raises(ConfigError, match="Nobody confirmed it"):
        update_workspace(shop, UpdateRequest(str(tmp_path / "moved")), quiet, refuse)
    assert f"runs code of the template at {tmp_path / 'moved'} as you" in asked[0]
    found = update(shop, str(tmp_path / "moved"))
    assert "which other machines do not have" in found.notes[0]
    assert record_of(shop)["template"] == str(tmp_path / "moved")


def test_a_base_that_only_the_recorded_template_has_is_taken_from_there(
    template: Template, shop: Path, tmp_path: Path
) -> None:
    other = Template(tmp_path / "other")
    git(other.folder, "commit", "--quiet", "--amend", "--message", "another history")
    git(other.folder, "tag", "--force", "v1.0.0")
    other.release("1.1.0", {}, {"main.py": THEIRS})
    assert not update(shop, str(other.folder)).conflicts
    assert (shop / "main.py").read_text() == THEIRS


# Questions and answers


def test_a_new_question_gets_its_default_and_is_told_and_an_answer_is_recorded(template: Template, shop: Path) -> None:
    template.questions(project_slug="shop", ci="none", shape="round")
    template.release("1.1.0", {}, {"shape.toml": 'shape = "{shape}"\n'})
    (note,) = update(shop).notes
    assert note.startswith("new question shape got the default, round.") and "--answer shape=ANSWER" in note
    undo(shop)
    assert update(shop, shape="square").notes == []
    assert (shop / "shape.toml").read_text() == 'shape = "square"\n'
    save(shop)
    assert update_workspace(shop, UpdateRequest(answers={"shape": "square"}), quiet, agree) is None
    assert update(shop, shape="oval").version == "v1.1.0", "an answer can be changed where no version is newer"
    assert (shop / "shape.toml").read_text() == 'shape = "oval"\n'


def test_answers_are_pairs() -> None:
    assert parse_answers(["ci=gitlab", "note=a=b", "empty="]) == {"ci": "gitlab", "note": "a=b", "empty": ""}
    with pytest.raises(ConfigError, match="'ci' is not an answer"):
        parse_answers(["ci"])


def test_without_a_record_the_answers_are_read_told_and_corrected(template: Template, tmp_path: Path) -> None:
    shop = template.generate(tmp_path / "stall", project_slug="stall", ci="gitlab")
    (shop / ".cruft.json").unlink()
    save(shop)
    template.release("1.1.0", {}, {"README.md": "# {project_slug}\n\nsystem: {ci}\n"})
    with pytest.raises(ConfigError, match=r"\.cruft\.json is missing") as refused:
        check(shop)
    assert "git log --all" in refused.value.remedy
    lines: list[str] = []
    request = UpdateRequest(str(template.folder), "1.0.0")
    found = update_workspace(shop, request, lines.append, agree)
    assert found and [line.partition(":")[0] for line in found.conflicts] == ["README.md"]
    assert any("  project_slug = stall\n  ci = none\n" in line for line in lines)
    undo(shop)
    (shop / ".cruft.json").unlink(missing_ok=True)
    assert update(shop, str(template.folder), "1.0.0", ci="gitlab").conflicts == []
    assert (shop / "README.md").read_text() == "# stall\n\nsystem: gitlab\n"


@pytest.mark.parametrize(
    ("text", "said"), [("{", "no record of a template"), ('{"template": 1}', "Expected `str`, got `int`")]
)
def test_a_record_that_cannot_be_read_is_named_with_the_remedy(shop: Path, text: str, said: str) -> None:
    (shop / ".cruft.json").write_text(text)
    save(shop)
    with pytest.raises(ConfigError) as refused:
        check(shop)
    assert said in refused.value.message and "git checkout -- .cruft.json" in refused.value.remedy


# Workspaces that hold the engine's sources


@pytest.fixture
def vendored(template: Template, tmp_path: Path) -> Path:
    """A workspace of a template that had the engine's sources, and of an older commit than the newest of those."""
    engine = {"slipway/__init__.py": "", "slipway/tasks/__init__.py": "", "slipway/flow.py": "FLOW = 1\n"}
    template.release(None, {}, {**engine, WHEEL.format(1): None})
    shop = template.generate(tmp_path / "vendored", ci="none")
    template.release(None, {}, {"slipway/flow.py": "FLOW = 2\n"})
    template.release("2.0.0", {}, {**dict.fromkeys(engine), WHEEL.format(2): "engine two\n", "main.py": THEIRS})
    (shop / ".cruft.json").unlink()
    save(shop)
    return shop


def test_sources_of_the_engine_are_replaced_by_its_package(template: Template, vendored: Path) -> None:
    with pytest.raises(ConfigError, match="does not say which template it comes from"):
        check(vendored)
    found = update(vendored, str(template.folder))
    assert not found.conflicts and (vendored / "main.py").read_text() == THEIRS
    assert not (vendored / "slipway").exists() and (vendored / WHEEL.format(2)).is_file()


def test_edits_of_those_sources_are_kept_in_a_file_and_told(template: Template, vendored: Path) -> None:
    (vendored / "slipway/flow.py").write_text("FLOW = 'ours'\n")
    save(vendored)
    request = UpdateRequest(str(template.folder))
    planned = preview_update(vendored, request, quiet, agree)
    assert planned and not (vendored / ".slipway" / EDITS).exists(), "a preview writes nothing"
    assert any(EDITS in note for note in update(vendored, str(template.folder)).notes)
    assert "+FLOW = 'ours'" in (vendored / ".slipway" / EDITS).read_text()


def test_sources_that_no_commit_has_ask_for_the_version(template: Template, vendored: Path) -> None:
    for file in (vendored / "slipway").rglob("*.py"):
        file.write_text("# Another's.\n")
    save(vendored)
    with pytest.raises(ConfigError, match="this workspace was made from is unknown") as refused:
        check(vendored, str(template.folder))
    assert "--from VERSION" in refused.value.remedy


# What it leaves


def test_conflicts_stand_in_the_index_and_are_not_up_to_date(template: Template, shop: Path) -> None:
    ours(shop)
    template.release("1.1.0", {}, {"main.py": THEIRS})
    planned = preview_update(shop, UpdateRequest(), quiet, agree)
    assert planned and status(shop) == []
    found = update(shop)
    assert found.conflicts == planned.conflicts
    assert found.conflicts == ["main.py: you and the template changed the same lines; conflict markers show both"]
    assert status(shop) == ["M  .cruft.json", "UU main.py"]
    with pytest.raises(SlipwayError, match=r"files are in conflict: main\.py") as refused:
        check(shop)
    assert refused.value.exit_code == 1
    with pytest.raises(ConfigError, match="uncommitted changes"):
        update(shop)
    undo(shop)
    assert status(shop) == [] and "'ours'" in (shop / "main.py").read_text()


def test_a_disk_that_is_full_on_the_way_leaves_a_journal_and_the_next_update_goes_on(
    template: Template, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template.release("1.1.0", {}, {"main.py": THEIRS, "added.py": "ADDED = 1\n", "README.md": "# two\n"})
    real, left = update_apply.place_file, [1]

    def full(source: Path, target: Path) -> None:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        left[0] -= 1
        real(source, target)

    monkeypatch.setattr(update_apply, "place_file", full)
    with pytest.raises(WriteError):
        update(shop)
    assert journal_path(shop).exists()
    (finding,) = interrupted_update(shop)
    assert not finding.ok and "Finish it: invoke update" in finding.remedy
    for look in (lambda: check(shop), lambda: preview_update(shop, UpdateRequest(), quiet, agree)):
        with pytest.raises(SlipwayError, match="an update was interrupted"):
            look()
    monkeypatch.setattr(update_apply, "place_file", real)
    lines: list[str] = []
    found = update_workspace(shop, UpdateRequest(), lines.append, agree)
    assert found and lines == ["Finished the update that was interrupted."]
    assert (shop / "main.py").read_text() == THEIRS and (shop / "added.py").is_file()
    assert not journal_path(shop).exists() and git(shop, "diff", "--name-only") == ""


@pytest.fixture
def interrupted(template: Template, shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace in which an update stopped before its first file."""
    template.release("1.1.0", {}, {"main.py": THEIRS, "added.py": "ADDED = 1\n"})

    def full(_source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(update_apply, "place_file", full)
        with pytest.raises(WriteError):
            update(shop)
    return shop


def test_files_that_were_edited_since_a_stop_are_not_written_over(interrupted: Path) -> None:
    (interrupted / "main.py").write_text("MINE = 1\n")
    with pytest.raises(ConfigError, match=r"these files were changed since: main\.py") as refused:
        update(interrupted)
    assert "restore --source=HEAD" in refused.value.remedy
    assert (interrupted / "main.py").read_text() == "MINE = 1\n"


def test_another_commit_since_a_stop_is_refused(interrupted: Path) -> None:
    save(interrupted)
    (interrupted / "main.py").write_text("MINE = 1\n")
    with pytest.raises(ConfigError, match="another commit is checked out since"):
        update(interrupted)


def test_an_undone_update_leaves_nothing_to_finish(interrupted: Path) -> None:
    undo(interrupted)
    assert not [*interrupted_update(interrupted)] and not journal_path(interrupted).exists()
    assert update(interrupted).version == "v1.1.0"


def test_what_changes_while_an_update_is_worked_out_stops_it(template: Template, shop: Path) -> None:
    template.release("1.1.0", {}, {"main.py": THEIRS})

    def while_asked(_line: str) -> None:
        (shop / "README.md").write_text("saved meanwhile\n")

    with pytest.raises(ConfigError, match=r"uncommitted changes: README\.md"):
        update_workspace(shop, UpdateRequest(), while_asked, agree)
    undo(shop)
    with pytest.raises(ConfigError, match="another commit was checked out during the update"):
        update_workspace(shop, UpdateRequest(), lambda _line: save(shop) and None, agree)
    assert (shop / "main.py").read_text() == MAIN


@pytest.mark.parametrize("name", ["local.cfg", "local.cfg/inner"])
def test_ignored_files_in_the_way_are_named_and_stay(template: Template, shop: Path, name: str) -> None:
    (shop / ".gitignore").write_text(".slipway/\nlocal.cfg\n")
    save(shop)
    (shop / "local.cfg").write_text("this machine's")
    template.release("1.1.0", {}, {name: "the template's"})
    with pytest.raises(ConfigError, match=r"where git ignores others: local\.cfg"):
        update(shop)
    assert (shop / "local.cfg").read_text() == "this machine's" and status(shop) == []


def test_files_that_git_overlooks_are_not_written_over(template: Template, shop: Path) -> None:
    git(shop, "update-index", "--assume-unchanged", "main.py")
    (shop / "main.py").write_text("in no commit\n")
    template.release("1.1.0", {}, {"main.py": THEIRS})
    with pytest.raises(ConfigError, match=r"told not to look at .*: main\.py"):
        update(shop)
    assert (shop / "main.py").read_text() == "in no commit\n"


def test_a_workspace_that_is_in_no_commit_is_refused(template: Template, shop: Path, tmp_path: Path) -> None:
    for around in (False, True):
        bare = tmp_path / f"bare-{around}" / "shop"
        bare.mkdir(parents=True)
        template.record(bare, {"project_slug": "shop"})
        if around:
            git(bare.parent, "init", "--quiet")
        with pytest.raises(ConfigError, match="no commit has the workspace" if around else "not in a git repository"):
            check(bare)
    (shop / ".git" / "HEAD").unlink()
    with pytest.raises(ConfigError) as refused:
        check(shop)
    assert "may be damaged" in refused.value.remedy


# The lock of the packages

LOCK = "--find-links vendor\n\nhelper=={} \\\n    --hash=sha256:aa\nslipway-workspace=={} \\\n    --hash=sha256:bb\n"
OURS = "ours==1 \\\n    --hash=sha256:cc\n"


@pytest.fixture
def locked(template: Template, tmp_path: Path) -> Path:
    """A workspace with a lock to which the team has added a package; the template's next one has newer pins."""
    lock = {"requirements.in": "slipway-workspace\n", "requirements.txt": LOCK.format(1, 1)}
    template.release("1.1.0", {}, lock)
    shop = template.generate(tmp_path / "locked")
    (shop / "requirements.in").write_text("slipway-workspace\nours\n")
    (shop / "requirements.txt").write_text(lock["requirements.txt"].replace("slipway-w", f"{OURS}slipway-w"))
    save(shop)
    template.release("1.2.0", {}, {"requirements.txt": LOCK.format(2, 2)})
    return shop


def test_a_lock_with_packages_of_the_team_is_compiled_from_both_sides_pins(
    locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    def compiled(folder: Path) -> str:
        given.append((folder / "requirements.txt").read_text())
        assert (folder / "requirements.in").read_text() == "slipway-workspace\nours\n"
        assert (folder / WHEEL.format(1)).is_file()
        return "compiled\n"

    monkeypatch.setattr(package_lock, "compile_lock", compiled)
    planned = preview_update(locked, UpdateRequest(), quiet, agree)
    assert planned and "will be recompiled" in planned.notes[0] and not given
    found = update(locked)
    assert (found.notes, found.conflicts) == ([], [])
    assert "helper==2 " in given[0] and "slipway-workspace==2 " in given[0] and OURS in given[0]
    assert (locked / "requirements.txt").read_text() == "compiled\n"


def test_where_it_cannot_be_compiled_the_command_is_told(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_lock, "compile_lock", lambda _folder: None)
    assert any(package_lock.COMMAND in note for note in update(locked).notes)


def test_the_templates_folder_may_be_below_its_repositorys_top(template: Template, tmp_path: Path) -> None:
    below = template.folder / "templates" / "slipway"
    below.mkdir(parents=True)
    for name in ("cookiecutter.json", "CHANGELOG.md", INSIDE):
        (template.folder / name).rename(below / name)
    save(template.folder)
    git(template.folder, "tag", "v1.1.0")
    rendered = fill_in(below, {}, tmp_path / "below", "it").folder
    template.record(rendered, {"project_slug": "shop", "ci": "none"}, directory="templates/slipway")
    git(rendered, "init", "--quiet")
    save(rendered)
    (below / INSIDE / "main.py").write_text(THEIRS)
    save(template.folder)
    git(template.folder, "tag", "v1.2.0")
    assert update(rendered).version == "v1.2.0"
    assert (rendered / "main.py").read_text() == THEIRS
    assert record_of(rendered)["directory"] == "templates/slipway"
