"""Watching: what counts, what is one change, and when git is waited for; on real files, by the system's own events."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway._internal.dev.watcher import Change, WorkspaceWatcher, wait_for_git
from slipway._internal.model.workspace import Workspace, WorkspaceSettings


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[WorkspaceWatcher]:
    for name in ("services/api", "libs/common", "bases", "infra", ".slipway"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "workspace.toml").write_text("")
    made = WorkspaceWatcher(Workspace(tmp_path, WorkspaceSettings(name="demo", registry="127.0.0.1:5000"), ()))
    made.start()
    deadline = time.monotonic() + 10  # until the system watches
    while made.changes.empty() and time.monotonic() < deadline:
        (tmp_path / "services" / "api" / "first").write_text(str(time.monotonic()))
        (tmp_path / "workspace.toml").write_text(str(time.monotonic()))
        time.sleep(0.1)
    time.sleep(0.5)
    while not made.changes.empty():
        made.changes.get()
    yield made
    made.stop()


def paths(change: Change, root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in change.paths}


def test_many_saves_in_quick_succession_are_one_change(watch: WorkspaceWatcher, tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / "services" / "api" / f"{number}.py").write_text("x")
    time.sleep(0.3)
    assert paths(watch.next_change(), tmp_path) == {f"services/api/{number}.py" for number in range(10)}
    time.sleep(0.3)
    assert watch.changes.empty()


def test_settings_bases_and_stacks_count_and_nothing_else_beside_the_sources(
    watch: WorkspaceWatcher, tmp_path: Path
) -> None:
    for name in ("README.md", ".slipway/log", "infra/x.py", "bases/notes"):
        (tmp_path / name).write_text("x")
    time.sleep(0.3)
    assert watch.changes.empty()
    for name in ("workspace.toml", "infra/Pulumi.dev.yaml", "bases/bases.lock.json", "libs/common/x.py"):
        new = tmp_path / f"{name}.new"
        new.write_text("x")
        new.rename(tmp_path / name)
    time.sleep(0.3)
    found = paths(watch.next_change(), tmp_path)
    assert {"workspace.toml", "infra/Pulumi.dev.yaml", "bases/bases.lock.json", "libs/common/x.py"} <= found


def test_a_folder_of_services_that_went_and_came_back_is_watched_again(watch: WorkspaceWatcher, tmp_path: Path) -> None:
    (tmp_path / "services").rename(tmp_path / "elsewhere")
    (tmp_path / "services" / "api").mkdir(parents=True)
    time.sleep(2)
    assert paths(watch.next_change(), tmp_path) >= {"services"}
    (tmp_path / "services" / "api" / "new.py").write_text("x")
    time.sleep(0.3)
    assert "services/api/new.py" in paths(watch.next_change(), tmp_path)


def test_changes_add_up_to_one_since_the_first(tmp_path: Path) -> None:
    one, two = Change(1.0, frozenset({tmp_path / "a"})), Change(2.0, frozenset({tmp_path / "b"}), deploy_requested=True)
    assert one + two == Change(1.0, frozenset({tmp_path / "a", tmp_path / "b"}), deploy_requested=True)


def test_git_is_waited_for_while_it_writes_files(tmp_path: Path) -> None:
    lock = tmp_path / ".git" / "index.lock"
    lock.parent.mkdir()
    lock.write_text("")
    began = time.monotonic()
    threading.Timer(0.3, lock.unlink).start()
    wait_for_git(tmp_path / "workspace")
    assert 0.25 < time.monotonic() - began < 5
