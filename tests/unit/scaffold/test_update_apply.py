"""In which order an update's files are written, and what is told of them."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from slipway._internal.scaffold import update_apply
from slipway._internal.scaffold.tree_store import Entry
from slipway._internal.scaffold.update_apply import (
    COLLAPSE_OVER,
    FileChange,
    apply_order,
    change_rows,
    place_file,
    remove_file,
)

OLD, NEW = Entry("100644", "a"), Entry("100755", "b")


def test_each_file_comes_when_what_it_needs_is_there() -> None:
    changes = [
        FileChange("was/a-folder", OLD, None),
        FileChange("was", None, NEW),
        FileChange("a-file", OLD, None),
        FileChange("a-file/inside", None, NEW),
        FileChange("vendor/new.whl", None, NEW),
        FileChange("infra/main.py", OLD, NEW),
        FileChange("requirements.txt", OLD, NEW),
        FileChange("vendor/old.whl", OLD, None),
        FileChange("tasks.py", OLD, NEW),
        FileChange(".cruft.json", OLD, NEW),
    ]
    order = [change.path for change in apply_order(random.Random(1).sample(changes, len(changes)))]
    assert {*order[:2]} == {"was/a-folder", "a-file"}, "what stands in the way"
    assert order[2] == "vendor/new.whl"
    assert order[-3:] == ["vendor/old.whl", "tasks.py", ".cruft.json"]


def test_rows_say_what_becomes_of_each_file_and_shorten_a_folder_that_goes() -> None:
    gone = [FileChange(f"slipway/{number}.py", OLD, None) for number in range(COLLAPSE_OVER + 1)]
    conflict = FileChange("b", OLD, NEW, {1: OLD, 2: OLD, 3: NEW})
    few = [FileChange("few/1", OLD, None), FileChange("few/2", OLD, None)]
    assert change_rows([*gone, *few, conflict, FileChange("c", None, NEW), FileChange("a", OLD, NEW)]) == [
        ("changed", "a"),
        ("conflict", "b"),
        ("added", "c"),
        ("deleted", "few/1"),
        ("deleted", "few/2"),
        ("deleted", f"slipway/ ({COLLAPSE_OVER + 1} files)"),
    ]


def test_a_file_that_goes_takes_the_folders_along_that_it_leaves_empty(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    for name in ("a/b/c/one", "a/two"):
        (tmp_path / name).touch()
    remove_file(tmp_path, "a/b/c/one")
    remove_file(tmp_path, "a/b/c/one")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["two"]


def test_a_file_is_placed_from_another_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "scratch", tmp_path / "deep" / "file"
    source.write_text("new")
    source.chmod(0o755)
    real = Path.replace

    def elsewhere(self: Path, other: Path) -> Path:
        if self == source:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return real(self, other)

    monkeypatch.setattr(update_apply.Path, "replace", elsewhere)
    place_file(source, target)
    assert target.read_text() == "new" and os.access(target, os.X_OK)
    assert [path.name for path in target.parent.iterdir()] == ["file"]
