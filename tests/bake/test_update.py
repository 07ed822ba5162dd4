"""`invoke update` over a history of made-up template versions, in real repositories."""

from __future__ import annotations

from pathlib import Path

from tests.bake.history import (
    INSIDE,
    QUESTIONS,
    README,
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

from slipway._internal.scaffold.update import update_workspace
from slipway._internal.scaffold.update_plan import UpdateRequest


def test_an_untouched_workspace_becomes_what_the_new_version_generates(
    history: History, shop: Path, tmp_path: Path
) -> None:
    second(history)
    brought(shop)
    assert files_in(shop) == files_in(history.generate(tmp_path / "second"))
    save(shop)
    third(history)
    brought(shop)
    assert files_in(shop) == files_in(history.generate(tmp_path / "third"))
    save(shop)
    assert update_workspace(shop, UpdateRequest(), print, lambda _question: True) is None


def test_changes_of_both_sides_in_different_lines_are_merged(history: History, shop: Path) -> None:
    edit(shop, "infra/main.py", "line_25 = 25", "line_25 = 'ours'")
    save(shop)
    history.release("1.1.0", changed("infra/main.py", "line_2 = 2\n", "line_2 = 'theirs'\n"))
    done = brought(shop)
    assert not done.conflicts and done.version == "v1.1.0"
    text = (shop / "infra/main.py").read_text()
    assert "line_25 = 'ours'" in text and "line_2 = 'theirs'" in text
    assert status(shop) == ["M  .cruft.json", "M  infra/main.py"]


def test_what_was_rendered_is_merged_as_it_was_rendered(history: History, tmp_path: Path) -> None:
    shop = history.generate(tmp_path / "work", colour="blue")
    edit(shop, "README.md", "Line 19.", "Line nineteen is ours.")
    save(shop)
    history.release("1.1.0", {f"{INSIDE}/README.md": f"Colour: {{{{ cookiecutter.colour }}}}\n\n{README}"})
    brought(shop)
    text = (shop / "README.md").read_text()
    assert text.startswith("Colour: blue\n\n# shop\n") and "Line nineteen is ours." in text


def test_a_conflict_leaves_markers_and_both_sides_in_the_index(history: History, shop: Path) -> None:
    edit(shop, "infra/main.py", "line_2 = 2\n", "line_2 = 'ours'\n")
    save(shop)
    history.release("1.1.0", changed("infra/main.py", "line_2 = 2\n", "line_2 = 'theirs'\n"))
    done = brought(shop)
    assert [line.partition(":")[0] for line in done.conflicts] == ["infra/main.py"]
    markers = "<<<<<<< yours\nline_2 = 'ours'\n=======\nline_2 = 'theirs'\n>>>>>>> template-v1.1.0\n"
    assert markers in (shop / "infra/main.py").read_text()
    assert status(shop) == ["M  .cruft.json", "UU infra/main.py"]
    assert "line_2 = 'theirs'" in git(shop, "show", ":3:infra/main.py")
    git(shop, "restore", "--source=HEAD", "--staged", "--worktree", "--", ".")
    assert status(shop) == []


def test_a_rename_of_the_template_takes_the_teams_changes_along(history: History, shop: Path) -> None:
    edit(shop, "infra/main.py", "line_25 = 25", "line_25 = 'ours'")
    save(shop)
    history.rename("infra/main.py", "infra/program.py")
    history.commit("1.1.0")
    brought(shop)
    assert not (shop / "infra/main.py").exists()
    assert "line_25 = 'ours'" in (shop / "infra/program.py").read_text()


def test_a_rename_of_the_team_gets_the_templates_changes(history: History, shop: Path) -> None:
    git(shop, "mv", "infra/main.py", "infra/ours.py")
    save(shop)
    history.release("1.1.0", changed("infra/main.py", "line_2 = 2\n", "line_2 = 'theirs'\n"))
    done = brought(shop)
    assert not done.notes and not (shop / "infra/main.py").exists()
    assert "line_2 = 'theirs'" in (shop / "infra/ours.py").read_text()


def test_renames_to_different_names_are_a_conflict_in_words(history: History, shop: Path) -> None:
    git(shop, "mv", "infra/main.py", "infra/ours.py")
    save(shop)
    history.rename("infra/main.py", "infra/theirs.py")
    history.commit("1.1.0")
    done = brought(shop)
    assert "renamed to infra/ours.py in yours and to infra/theirs.py in template-v1.1.0" in done.conflicts[0]
    assert status(shop) == ["M  .cruft.json", "AU infra/ours.py", "A  infra/theirs.py"]
    git(shop, "restore", "--source=HEAD", "--staged", "--worktree", "--", ".")
    assert (shop / "infra/ours.py").is_file() and status(shop) == []


def test_a_file_that_the_template_deletes_goes_unless_the_team_changed_it(history: History, shop: Path) -> None:
    edit(shop, "infra/main.py", "line_25 = 25", "line_25 = 'ours'")
    save(shop)
    history.release("1.1.0", {f"{INSIDE}/infra/main.py": None, f"{INSIDE}/infra/rules.py": None})
    done = brought(shop)
    assert not (shop / "infra/rules.py").exists()
    assert "line_25 = 'ours'" in (shop / "infra/main.py").read_text()
    assert done.conflicts == [
        "infra/main.py: you changed it and the template deleted it; yours is kept. To delete it: git rm infra/main.py"
    ]


def test_what_the_team_deleted_stays_deleted_and_is_told_where_the_template_changed_it(
    history: History, shop: Path
) -> None:
    for name in ("infra/main.py", "infra/rules.py", "run.sh"):
        (shop / name).unlink()
    save(shop)
    history.rename("infra/rules.py", "infra/regulations.py")
    history.release("1.1.0", changed("infra/main.py", "line_2 = 2\n", "line_2 = 'theirs'\n"))
    done = brought(shop)
    assert not done.conflicts
    assert done.notes == [
        "infra/main.py stays deleted: you deleted it, and the template changed it",
        "infra/regulations.py stays deleted: you deleted it, and the template changed it",
    ]
    assert status(shop) == ["M  .cruft.json"]
    assert not (shop / "infra").joinpath("regulations.py").exists()


def test_nothing_is_added_to_a_folder_that_the_team_deleted(history: History, shop: Path) -> None:
    git(shop, "rm", "-r", "--quiet", "services/web", "infra/policy")
    save(shop)
    history.release(
        "1.1.0",
        {
            f"{INSIDE}/services/web/new.py": "NEW = 1\n",
            f"{INSIDE}/services/web/deep/er.py": "NEW = 2\n",
            f"{INSIDE}/infra/policy/two.py": "TWO = 2\n",
            f"{INSIDE}/infra/fresh/one.py": "ONE = 1\n",
        },
    )
    done = brought(shop)
    assert done.notes == [
        "infra/policy/ stays deleted; the new template adds 1 file there",
        "services/ stays deleted; the new template adds 2 files there",
    ]
    assert status(shop) == ["M  .cruft.json", "A  infra/fresh/one.py"]


def test_a_file_without_text_is_replaced_or_a_conflict_in_words(history: History, shop: Path, tmp_path: Path) -> None:
    mine = history.generate(tmp_path / "mine")
    (mine / "logo.bin").write_bytes(b"\x00our logo")
    save(mine)
    history.release("1.1.0", {f"{INSIDE}/logo.bin": b"\x89\x00logo two\x00"})
    assert not brought(shop).conflicts
    assert (shop / "logo.bin").read_bytes() == b"\x89\x00logo two\x00"
    (conflict,) = brought(mine).conflicts
    assert conflict.startswith("logo.bin: not a text file")
    assert (mine / "logo.bin").read_bytes() == b"\x00our logo"
    git(mine, "checkout", "--theirs", "logo.bin")
    assert (mine / "logo.bin").read_bytes() == b"\x89\x00logo two\x00"


def test_modes_are_merged_as_contents_are(history: History, shop: Path) -> None:
    (shop / "tasks.py").chmod(0o755)
    edit(shop, "run.sh", "echo one", "echo ours")
    save(shop)
    history.release("1.1.0", {f"{INSIDE}/tasks.py": "VERSION = 11\n"}, run_sh=0o755)
    assert not brought(shop).conflicts
    assert files_in(shop)["tasks.py"] == ("run", b"VERSION = 11\n")
    assert files_in(shop)["run.sh"] == ("run", b"#!/bin/sh\necho ours\n")


def test_a_file_may_become_a_folder_and_a_folder_a_file(history: History, shop: Path) -> None:
    history.release("1.1.0", {f"{INSIDE}/infra/rules.py": None, f"{INSIDE}/infra/policy/one.py": None})
    (history.folder / INSIDE / "infra/policy").rmdir()
    history.release("1.2.0", {f"{INSIDE}/infra/rules.py/one.py": "ONE = 1\n", f"{INSIDE}/infra/policy": "none\n"})
    brought(shop)
    assert (shop / "infra/rules.py/one.py").read_text() == "ONE = 1\n"
    assert (shop / "infra/policy").read_text() == "none\n"
    save(shop)
    brought(shop, to="1.0.0")
    assert (shop / "infra/policy/one.py").is_file() and (shop / "infra/rules.py").is_file()


def test_the_engine_is_replaced_whatever_wheel_is_there(history: History, shop: Path, tmp_path: Path) -> None:
    other = history.generate(tmp_path / "other")
    (other / "vendor/slipway_workspace-1.0.0-py3-none-any.whl").rename(
        other / "vendor/slipway_workspace-1.0.1-py3-none-any.whl"
    )
    (other / "vendor/own-1.0-py3-none-any.whl").write_bytes(b"PK own")
    save(other)
    second(history)
    for workspace in (shop, other):
        assert not brought(workspace).conflicts
        assert [path.name for path in workspace.glob("vendor/slipway*")] == ["slipway_workspace-2.0.0-py3-none-any.whl"]
    assert (other / "vendor/own-1.0-py3-none-any.whl").read_bytes() == b"PK own"


def test_a_workspace_without_a_wheel_gets_none(history: History, shop: Path) -> None:
    git(shop, "rm", "-r", "--quiet", "vendor")
    save(shop)
    second(history)
    done = brought(shop)
    assert not (shop / "vendor").exists()
    assert "publish slipway_workspace-2.0.0-py3-none-any.whl to your index" in done.notes[0]


def test_services_that_the_team_added_stay_as_they_are(history: History, shop: Path) -> None:
    """They are copies of a kind: to git's eye one may be a renamed service of the template's."""
    git(shop, "mv", "services/web", "services/jobs")
    (shop / "services/cache").mkdir()
    (shop / "services/cache/service.toml").write_text('route = "/ours"\n')
    save(shop)
    before = {name: each for name, each in files_in(shop).items() if name.startswith("services/")}
    history.release(
        "1.1.0",
        {**changed("services/web/app.py", "page_2 = 2\n", "page_2 = 'theirs'\n")}
        | {f"{INSIDE}/services/cache/service.toml": 'route = "/theirs"\n'},
    )
    done = brought(shop)
    assert {name: each for name, each in files_in(shop).items() if name.startswith("services/")} == before
    assert "services/cache is yours; the new template's service of this name is left out" in done.notes
    assert not done.conflicts


def test_what_the_record_says_to_skip_is_never_touched(history: History, shop: Path) -> None:
    edit(shop, ".cruft.json", '    ".cruft.json"\n  ]', '    "infra",\n    "*.sh"\n  ], "ours": {"kept": true}')
    edit(shop, "run.sh", "echo one", "echo ours")
    save(shop)
    second(history)
    assert not brought(shop).conflicts
    assert (shop / "infra/rules.py").exists() and not (shop / "infra/added.py").exists()
    assert files_in(shop)["run.sh"] == ("file", b"#!/bin/sh\necho ours\n")
    assert (
        '"skip": [\n    ".cruft.json",\n    "infra",\n    "*.sh"\n  ],\n  "ours": {\n    "kept": true\n  }\n}'
        in (shop / ".cruft.json").read_text()
    )


def test_a_new_question_is_told_and_can_be_answered(history: History, shop: Path) -> None:
    third_of = QUESTIONS % ', "shape": "round", "__prompts__": {"shape": "Round or square?"}'
    history.release(
        "1.1.0", {"cookiecutter.json": third_of, f"{INSIDE}/shape.toml": 'shape = "{{ cookiecutter.shape }}"\n'}
    )
    done = brought(shop)
    assert "new question shape (Round or square?) got the default, round." in done.notes[0]
    assert "invoke update --answer shape=" in done.notes[0]
    assert (shop / "shape.toml").read_text() == 'shape = "round"\n'
    git(shop, "restore", "--source=HEAD", "--staged", "--worktree", "--", ".")
    assert not brought(shop, shape="square").notes
    assert (shop / "shape.toml").read_text() == 'shape = "square"\n'
    save(shop)
    assert not brought(shop, shape="oval").notes, "an answer can be changed where the template is the same"
    assert (shop / "shape.toml").read_text() == 'shape = "oval"\n'
    assert '"shape": "oval"' in (shop / ".cruft.json").read_text()


def test_the_changelog_between_the_versions_is_told(history: History, shop: Path) -> None:
    second(history)
    assert brought(shop).news == ["## 2.0.0", "- The second."]


def test_a_workspace_below_its_repositorys_top_is_updated_alone(history: History, tmp_path: Path) -> None:
    top = tmp_path / "team"
    shop = history.generate(top / "apps", commit=False)
    (top / "README.md").write_text("The team's.\n")
    git(top, "init", "--quiet")
    save(top)
    (top / "unsaved.txt").write_text("no business of the workspace's")
    edit(shop, "infra/main.py", "line_2 = 2\n", "line_2 = 'ours'\n")
    git(top, "commit", "--quiet", "--all", "--message", "ours")
    history.release("1.1.0", changed("infra/main.py", "line_2 = 2\n", "line_2 = 'theirs'\n") | {f"{INSIDE}/a": "a\n"})
    assert len(brought(shop).conflicts) == 1
    assert status(top) == [
        "M  apps/shop/.cruft.json",
        "A  apps/shop/a",
        "UU apps/shop/infra/main.py",
        "?? unsaved.txt",
    ]
    git(shop, "restore", "--source=HEAD", "--staged", "--worktree", "--", ".")
    assert status(top) == ["?? unsaved.txt"]


def test_a_file_of_the_teams_where_the_template_has_a_folder_is_a_conflict_in_words(
    history: History, shop: Path
) -> None:
    (shop / "docs").write_text("ours\n")
    save(shop)
    history.release("1.1.0", {f"{INSIDE}/docs/one.md": "theirs\n"})
    (conflict,) = brought(shop).conflicts
    assert conflict.startswith("docs~yours: directory in the way of docs from yours")
    assert (shop / "docs~yours").read_text() == "ours\n" and (shop / "docs/one.md").read_text() == "theirs\n"
    git(shop, "restore", "--source=HEAD", "--staged", "--worktree", "--", ".")
    assert (shop / "docs").read_text() == "ours\n" and status(shop) == []


def test_a_folder_that_the_template_renames_does_not_take_the_teams_files_along(history: History, shop: Path) -> None:
    (shop / "infra" / "own.py").write_text("OWN = 1\n")
    save(shop)
    for name in ("main.py", "rules.py", "policy/one.py"):
        history.rename(f"infra/{name}", f"ops/{name}")
    history.commit("1.1.0")
    done = brought(shop)
    assert not done.conflicts and not done.notes
    assert (shop / "infra" / "own.py").is_file() and (shop / "ops" / "main.py").is_file()
    assert not (shop / "infra" / "main.py").exists() and not (shop / "ops" / "own.py").exists()


def test_a_target_of_an_earlier_version_that_the_team_has_changed_is_told_of(history: History, shop: Path) -> None:
    path = "infra/targets/docker.py"
    history.release("1.1.0", {f"{INSIDE}/{path}": "MEMORY = 1\n"})
    brought(shop)
    save(shop)
    edit(shop, path, "MEMORY = 1\n", "MEMORY = 2\n")
    save(shop)
    history.release("1.2.0", {f"{INSIDE}/{path}": None})
    done = brought(shop)
    assert any(f"{path} is not used any more, and a deploy refuses it" in note for note in done.notes), done.notes
