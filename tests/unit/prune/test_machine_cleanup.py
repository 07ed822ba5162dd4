"""What `invoke prune --machine` takes of a workspace: engine images, old updates, old logs; and what it leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway._internal.prune import machine_cleanup

NOW = datetime(2026, 11, 1, tzinfo=UTC)
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


class Engine:
    """An engine with images and containers, as its API tells of them."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.used: list[str] = []
        self.api = self

    def containers(self, *, all: bool) -> list[dict[str, Any]]:
        assert all
        return [{"ImageID": each} for each in self.used]

    def df(self) -> dict[str, Any]:
        return {"Images": self.images}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()

    @contextmanager
    def speaking() -> Iterator[None]:
        yield

    monkeypatch.setattr(machine_cleanup.engine, "client", lambda: made)
    monkeypatch.setattr(machine_cleanup.engine, "docker_errors", speaking)
    monkeypatch.setattr(machine_cleanup.leftovers, "find_leftovers", list)
    return made


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.yaml").write_text("name: demo\nbackend:\n  url: file://../.slipway/state\n")
    return Workspace(tmp_path, WorkspaceSettings("demo", "127.0.0.1:5000"), ())


def image(number: int, *refs: str, shared: int = 0) -> dict[str, Any]:
    return {"Id": f"i{number}", "RepoTags": [], "RepoDigests": list(refs), "Size": 1000, "SharedSize": shared}


def test_images_that_no_container_lock_or_release_needs_go_and_no_others(
    engine: Engine, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "127.0.0.1:5000/demo/api"
    engine.images = [
        image(1, f"{own}@{A}", shared=400),
        image(2, f"{own}@{B}"),
        image(3, f"{own}@{C}"),
        image(4, f"127.0.0.1:5000/demo2/api@{A}"),
        image(5, f"nginx@{A}"),
        image(6, f"{own}@{A}", "mine:latest"),
        image(7),
    ]
    engine.used = ["i3"]
    gone: list[str] = []
    monkeypatch.setattr(machine_cleanup.engine, "remove_image", gone.append)
    (found,) = machine_cleanup.find_machine_leftovers(workspace, {B: "a release"}, NOW)
    assert (found.what, found.bytes) == (f"{own}@{A}", 600)
    found.remove()
    assert gone == [f"{own}@{A}"]


def test_without_an_engine_the_rest_is_found(
    engine: Engine, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def silent() -> Iterator[None]:
        raise SlipwayError("the engine does not answer")
        yield

    monkeypatch.setattr(machine_cleanup.engine, "docker_errors", silent)
    assert machine_cleanup.find_machine_leftovers(workspace, {}, NOW) == []


def written(path: Path, when: datetime, size: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (when.timestamp(), when.timestamp()))
    return path


def test_the_last_updates_of_each_stack_stay_in_its_history_and_its_state_is_not_touched(
    engine: Engine, workspace: Workspace
) -> None:
    state = workspace.root / ".slipway" / "state" / ".pulumi"
    kept = [written(state / "stacks" / "demo" / "dev.json", NOW - timedelta(days=900))]
    old = []
    for number in range(25):
        for kind in ("history.json", "history.json.attrs", "checkpoint.json"):
            path = state / "history" / "demo" / "dev" / f"dev-17{number:04}.{kind}"
            written(path, NOW - timedelta(hours=25 - number))
            (kept if number >= 5 else old).append(path)
        kept.append(written(state / "history" / "other" / "dev" / f"dev-17{number:04}.history.json", NOW))
    kept.append(written(state / "history" / "demo" / "prod" / "prod-170001.history.json", NOW))
    (found,) = machine_cleanup.find_machine_leftovers(workspace, {}, NOW)
    assert found.bytes == 150 and "(15 files)" in found.what
    found.remove()
    assert not any(path.exists() for path in old) and all(path.exists() for path in kept)


def test_the_backups_of_a_state_stay_however_many_updates_came_after(engine: Engine, workspace: Workspace) -> None:
    backups = workspace.root / ".slipway" / "state" / ".pulumi" / "backups" / "demo" / "dev"
    kept = [written(backups / f"{name}.json", NOW - timedelta(days=9)) for name in ("slipway-1", "removed-1")]
    for number in range(25):
        written(backups / f"dev.17{number:04}.json", NOW)
    for found in machine_cleanup.find_machine_leftovers(workspace, {}, NOW):
        found.remove()
    assert len(list(backups.iterdir())) == 22
    assert all(path.exists() for path in kept)


def test_logs_go_after_the_days_of_retention(engine: Engine, workspace: Workspace) -> None:
    logs = workspace.root / ".slipway" / "logs"
    old, new = written(logs / "a.log", NOW - timedelta(days=31)), written(logs / "b.log", NOW - timedelta(days=29))
    (logs / "link.log").symlink_to(new)
    (found,) = machine_cleanup.find_machine_leftovers(workspace, {}, NOW)
    found.remove()
    assert not old.exists() and new.exists()


def test_what_comes_free_is_said_in_megabytes(engine: Engine) -> None:
    left = [machine_cleanup.Leftover(name, "", size, list) for name, size in (("a", 1_500_000_000), ("b", 2_000_000))]
    assert machine_cleanup.summarize_leftovers(left) == "Of this machine 2 more would go, 1,502 MB."
    assert machine_cleanup.summarize_leftovers([]) == ""
