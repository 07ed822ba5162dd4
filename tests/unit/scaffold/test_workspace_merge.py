"""What git's merge is not given, and how conflicts are told."""

from __future__ import annotations

from slipway._internal.scaffold.tree_store import Conflict, Entry, MergeResult, parse_merge
from slipway._internal.scaffold.workspace_merge import describe_conflicts, exclude_from_merge


def files(**contents: str) -> dict[str, Entry]:
    """Return files by path, `__` for a slash; what they hold is a letter."""
    return {path.replace("__", "/"): Entry("100644", content) for path, content in contents.items()}


WHEEL = {version: f"vendor/slipway_workspace-{version}-py3-none-any.whl" for version in "12"}


def test_a_service_that_the_old_template_did_not_give_is_the_teams() -> None:
    base = files(services__web__app="a")
    ours = files(services__web__app="a", services__jobs__app="b", services__README="c")
    theirs = files(services__web__app="d", services__jobs__app="e", services__jobs__new="f", services__more__app="g")
    exclusions = exclude_from_merge(base, ours, theirs, ())
    assert {path for path in exclusions.removed if path.startswith("services/")} == {
        "services/jobs/app",
        "services/jobs/new",
    }
    assert exclusions.put == files(services__jobs__app="b")
    assert exclusions.notes == ["services/jobs is yours; the new template's service of this name is left out"]


def test_the_new_engine_takes_the_place_of_any_other() -> None:
    old, new = {WHEEL["1"]: Entry("100644", "a")}, {WHEEL["2"]: Entry("100644", "b")}
    other = {"vendor/slipway_workspace-9-py3-none-any.whl": Entry("100644", "c")}
    for ours in (old, {**old, **other}, other):
        exclusions = exclude_from_merge(old, ours, new, ())
        assert {*old, *new, *ours} <= exclusions.removed and exclusions.put == new and not exclusions.notes


def test_engine_sources_go_where_the_new_template_has_none() -> None:
    sources = files(slipway__one="a", slipway__two="b")
    exclusions = exclude_from_merge(
        sources, {**sources, **files(slipway__own="c")}, {WHEEL["2"]: Entry("100644", "d")}, ()
    )
    assert {*sources, "slipway/own"} <= exclusions.removed
    assert [*exclusions.put] == [WHEEL["2"]]
    assert "slipway/one" not in exclude_from_merge(sources, sources, sources, ()).removed


def test_what_is_skipped_stays_as_the_team_has_it() -> None:
    base = files(infra__main="a", infra__gone="b", run="c")
    exclusions = exclude_from_merge(
        base, files(infra__main="d", run="c"), files(infra__main="e", infra__new="f", run="g"), ("infra",)
    )
    assert {"infra/main", "infra/gone", "infra/new"} <= exclusions.removed and "run" not in exclusions.removed
    assert exclusions.put == files(infra__main="d")


def test_a_name_that_is_no_text_is_left_in_its_tree() -> None:
    odd = {"services/jobs/\ufffd": Entry("100644", "a")}
    assert exclude_from_merge({}, odd, {}, ()).put == {}


def test_conflicts_are_told_by_path_in_words() -> None:
    sides = {1: Entry("100644", "a"), 2: Entry("100644", "b"), 3: Entry("100644", "c")}
    merged = MergeResult(
        "t",
        {
            "main.py": sides,
            "logo": sides,
            "ours.py": {2: sides[2]},
            "gone.py": {1: sides[1], 2: sides[2]},
            "odd": sides,
        },
        (
            Conflict("contents", ("main.py",), "CONFLICT (content): Merge conflict in main.py"),
            Conflict("contents", ("logo",), "CONFLICT (content): Merge conflict in logo"),
            Conflict("binary", ("logo",), "warning: Cannot merge binary files: logo"),
            Conflict("modify/delete", ("gone.py",), "CONFLICT (modify/delete): gone.py deleted in x"),
            Conflict("rename/rename", ("a.py", "ours.py"), "CONFLICT (rename/rename): a.py renamed to two names."),
        ),
    )
    assert [line.partition(": ")[::2] for line in describe_conflicts(merged)] == [
        ("gone.py", "you changed it and the template deleted it; yours is kept. To delete it: git rm gone.py"),
        (
            "logo",
            "not a text file, and you and the template both changed it; yours is kept. "
            "For the template's: git checkout --theirs logo",
        ),
        ("main.py", "you and the template changed the same lines; conflict markers show both"),
        ("ours.py", "a.py renamed to two names."),
        ("odd", ""),
    ]


def test_what_git_says_of_a_merge_is_taken_apart() -> None:
    said = (
        "tree1\x00100644 aaa 1\tsome file\x00100644 bbb 2\tsome file\x00100755 ccc 3\tsome file\x00\x00"
        "1\x00other\x00Auto-merging\x00Auto-merging other\n\x00"
        "2\x00some file\x00old\nname\x00CONFLICT (rename/delete)\x00CONFLICT (rename/delete): it says why\n\x00"
    )
    assert parse_merge(said) == MergeResult(
        "tree1",
        {"some file": {1: Entry("100644", "aaa"), 2: Entry("100644", "bbb"), 3: Entry("100755", "ccc")}},
        (Conflict("rename/delete", ("some file", "old\nname"), "CONFLICT (rename/delete): it says why"),),
    )
    assert parse_merge("tree2\x00") == parse_merge("tree2\x00\x00") == MergeResult("tree2")
