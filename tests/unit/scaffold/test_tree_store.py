"""Trees in a real git: what is read, edited and merged there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.scaffold import tree_store
from slipway._internal.scaffold.tree_store import Entry, TreeStore


@pytest.fixture(params=["sha1", "sha256"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TreeStore:
    """A store beside a repository that has nothing yet."""
    init = ["git", "init", "--quiet", f"--object-format={request.param}", tmp_path / "team"]
    subprocess.run(init, check=True)
    return TreeStore(tmp_path / "store", tmp_path / "team" / ".git" / "objects", request.param, keep=False)


def objects(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "team" / ".git" / "objects").rglob("*") if path.is_file()]


def written(folder: Path, **contents: str) -> Path:
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_text(content)
    return folder


def test_a_folder_is_read_as_it_is_whatever_this_users_git_would_do(
    store: TreeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = f"excludesFile = {tmp_path}/excludes\nattributesFile = {tmp_path}/attributes\n"
    (tmp_path / "config").write_text(f"[core]\nautocrlf = true\nfileMode = false\n{files}")
    (tmp_path / "excludes").write_text("mine\n")
    (tmp_path / "attributes").write_text("* text eol=crlf\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    folder = written(tmp_path / "files", mine="one\r\ntwo\r\n", run="#!/bin/sh\n", left_out="x")
    (folder / ".gitignore").write_text("left_out\n")
    (folder / "run").chmod(0o755)
    (folder / "link").symlink_to("run")
    found = store.entries(store.tree_of(folder))
    assert {name: entry.mode for name, entry in found.items()} == {
        ".gitignore": "100644",
        "link": "120000",
        "mine": "100644",
        "run": "100755",
    }
    raw = ["git", "cat-file", "blob", found["mine"].oid]
    said = subprocess.run(raw, cwd=tmp_path / "store" / "merge.git", check=True, capture_output=True)
    assert said.stdout == b"one\r\ntwo\r\n"


def test_trees_are_edited_compared_and_merged_without_a_trace_in_the_workspace(
    store: TreeStore, tmp_path: Path
) -> None:
    base = store.tree_of(written(tmp_path / "base", same="s", both="1\n2\n3\n4\n5\n", gone="g"))
    own = store.write_text("0\n1\n2\n3\n4\n5\n")
    ours = store.edit(base, put={"both": own, "new/file": Entry("100755", own.oid)})
    theirs = store.edit(base, remove=["gone"], put={"both": store.write_text("1\n2\n3\n4\n5\n6\n")})
    assert {path: (bool(old), bool(new)) for path, (old, new) in store.changed(base, ours).items()} == {
        "both": (True, True),
        "new/file": (False, True),
    }
    merged = store.merge(base, ours, theirs, label="template-2")
    assert not merged.conflicts and not merged.stages
    assert store.text(store.entries(merged.tree)["both"].oid) == "0\n1\n2\n3\n4\n5\n6\n"
    assert [*store.entries(merged.tree)] == ["both", "new/file", "same"]
    assert "+0" in store.difference(base, ours)
    assert store.below(ours, "new") and store.below(ours, "old") is None
    assert objects(tmp_path) == []


def test_a_conflict_has_all_sides_and_markers_with_the_label(store: TreeStore, tmp_path: Path) -> None:
    base = store.tree_of(written(tmp_path / "base", file="1\n"))
    ours, theirs = (store.edit(base, put={"file": store.write_text(text)}) for text in ("ours\n", "theirs\n"))
    merged = store.merge(base, ours, theirs, label="template-2")
    assert {*merged.stages["file"]} == {1, 2, 3}
    assert [(each.kind, each.paths) for each in merged.conflicts] == [("contents", ("file",))]
    text = store.text(store.entries(merged.tree)["file"].oid)
    assert text == "<<<<<<< yours\nours\n=======\ntheirs\n>>>>>>> template-2\n"
    settled = merged.without_conflicts(["file"], theirs)
    assert (settled.tree, dict(settled.stages), settled.conflicts) == (theirs, {}, ())


def test_objects_are_kept_where_the_workspace_will_name_them(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path / "team"], check=True)
    store = TreeStore(tmp_path / "store", tmp_path / "team" / ".git" / "objects", "sha1", keep=True)
    kept = store.write_text("kept")
    said = subprocess.run(["git", "cat-file", "blob", kept.oid], cwd=tmp_path / "team", check=True, capture_output=True)
    assert said.stdout == b"kept"


def test_a_git_that_is_too_old_is_refused_with_the_version(
    store: TreeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = store.tree_of(written(tmp_path / "base", file="1\n"))
    monkeypatch.setattr(tree_store, "MERGE_VERSION", (99, 1))
    with pytest.raises(SlipwayError, match="cannot merge outside the working tree") as refused:
        store.merge(tree, tree, tree, label="x")
    assert "99.1 or newer" in refused.value.remedy


def test_what_git_refuses_is_an_error_with_its_words(store: TreeStore) -> None:
    with pytest.raises(SlipwayError, match="`git ls-tree` failed") as failed:
        store.entries("0" * 7)
    assert "fatal" in failed.value.detail
