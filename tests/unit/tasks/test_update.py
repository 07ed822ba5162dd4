"""What `invoke update` prints, in words and as JSON, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace_path import use_workspace
from slipway._internal.scaffold import update as updates
from slipway._internal.scaffold.tree_store import Entry
from slipway._internal.scaffold.update import VersionGap
from slipway._internal.scaffold.update_apply import UNDO, FileChange, UpdatePlan
from slipway._internal.scaffold.update_plan import UpdateRequest
from slipway._internal.tasks.update import update

OLD, NEW = Entry("100644", "a"), Entry("100644", "b")
PLAN = UpdatePlan(
    *("1" * 40, "2" * 40, "v2.0.0"),
    [FileChange("added.py", None, NEW), FileChange("main.py", OLD, NEW)],
    notes=["services/x is yours"],
    news=["## 2.0.0", "- The [second]."],
)
CONFLICT = UpdatePlan(
    *("1" * 40, "2" * 40, "v2.0.0"),
    [FileChange("main.py", OLD, NEW, {1: OLD, 2: OLD, 3: NEW})],
    conflicts=["main.py: you and the template changed the same lines"],
)


class Flow:
    """Stands for the work: what it was asked, and what it gives."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, UpdateRequest]] = []
        self.gives: Any = None

    def work(self, name: str) -> Any:
        def do(_root: Path, request: UpdateRequest, tell: Any, *_consent: Any) -> Any:
            self.asked.append((name, request))
            tell("Fetching the template from [/odd].")
            if isinstance(self.gives, Exception):
                raise self.gives
            return self.gives

        return do


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flow]:
    found = Flow()
    for name in ("check_update", "preview_update", "update_workspace"):
        monkeypatch.setattr(updates, name, found.work(name))
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    monkeypatch.chdir(tmp_path)
    use_workspace(tmp_path)
    yield found


def ended(code: int, **options: Any) -> None:
    """Run the verb, which ends with a code."""
    if not code:
        update(Context(), **options)
        return
    with pytest.raises(Exit) as stop:
        update(Context(), **options)
    assert stop.value.code == code


def test_it_asks_for_what_the_user_said(flow: Flow) -> None:
    ended(0, to="1.4.0", from_="1.0.0", answer=["ci=gitlab"])
    ended(0, dry=True)
    ended(0, check=True)
    assert flow.asked == [
        ("update_workspace", UpdateRequest("1.4.0", "1.0.0", {"ci": "gitlab"})),
        ("preview_update", UpdateRequest()),
        ("check_update", UpdateRequest()),
    ]


def test_an_update_says_what_is_new_what_changed_and_how_to_go_on(
    flow: Flow, capsys: pytest.CaptureFixture[str]
) -> None:
    flow.gives = PLAN
    ended(0)
    out, beside = capsys.readouterr()
    for words in ("New in v2.0.0", "- The [second].", "The workspace is at v2.0.0", f"git {UNDO}", "git diff --staged"):
        assert words in out
    assert {("added", "added.py"), ("changed", "main.py")} <= {tuple(line.split()) for line in out.splitlines()}
    assert "services/x is yours" in beside


def test_the_undo_is_one_for_the_folder_that_the_user_stands_in(
    flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "infra").mkdir()
    monkeypatch.chdir(tmp_path / "infra")
    flow.gives = PLAN
    ended(0)
    assert f"git -C {tmp_path} {UNDO}" in capsys.readouterr().out


def test_a_preview_says_that_nothing_was_done(flow: Flow, capsys: pytest.CaptureFixture[str]) -> None:
    flow.gives = PLAN
    ended(0, dry=True)
    out = capsys.readouterr().out
    assert "Nothing was done." in out and UNDO not in out


@pytest.mark.parametrize("dry", [False, True])
def test_conflicts_end_with_1_and_no_word_of_success(flow: Flow, capsys: pytest.CaptureFixture[str], dry: bool) -> None:
    flow.gives = CONFLICT
    ended(1, dry=dry)
    out, beside = capsys.readouterr()
    assert "✔" not in out and "main.py: you and the template changed the same lines" in beside
    assert ("would be in conflict" in beside) == dry and (UNDO in beside) != dry


def test_up_to_date_is_said_and_ends_with_0(flow: Flow, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ({}, {"dry": True}, {"check": True}):
        ended(0, **options)
        assert "up to date with its template" in capsys.readouterr().out


@pytest.mark.parametrize(("commits", "said"), [(1, "1 commit behind"), (3, "3 commits behind")])
def test_check_ends_with_1_where_the_workspace_is_behind(
    flow: Flow, capsys: pytest.CaptureFixture[str], commits: int, said: str
) -> None:
    flow.gives = VersionGap("v1.0.0", "v2.0.0", commits)
    ended(1, check=True)
    out = capsys.readouterr().out
    assert f"The template is at v2.0.0, this workspace at v1.0.0: {said}" in out and "invoke update" in out


def test_json_is_all_that_standard_output_has(flow: Flow, capsys: pytest.CaptureFixture[str]) -> None:
    ended(0, check=True, json=True)
    out, beside = capsys.readouterr()
    assert json.loads(out) == {"behind": False, "from": None, "to": None, "commits": 0}
    assert "Fetching the template from [/odd]." in beside
    flow.gives = VersionGap("v1.0.0", "v2.0.0", 3)
    ended(1, check=True, json=True)
    assert json.loads(capsys.readouterr().out) == {"behind": True, "from": "v1.0.0", "to": "v2.0.0", "commits": 3}
    for dry in (True, False):
        flow.gives = PLAN
        ended(0, dry=dry, json=True)
        found = json.loads(capsys.readouterr().out)
        assert found["version"] == "v2.0.0" and found["news"] == PLAN.news and found["notes"] == PLAN.notes
        assert found["changes"] == [{"path": "added.py", "kind": "added"}, {"path": "main.py", "kind": "changed"}]
        flow.gives = CONFLICT
        ended(1, dry=dry, json=True)
        assert json.loads(capsys.readouterr().out)["conflicts"] == CONFLICT.conflicts
        flow.gives = None
        ended(0, dry=dry, json=True)
        assert json.loads(capsys.readouterr().out)["version"] is None


def test_what_cannot_be_done_ends_with_2_and_the_remedy(flow: Flow, capsys: pytest.CaptureFixture[str]) -> None:
    flow.gives = ConfigError("the template cannot be fetched", remedy="Name another.")
    for options in ({}, {"dry": True}, {"check": True}, {"json": True}):
        ended(2, **options)
        assert "Name another." in capsys.readouterr().err
    ended(2, answer=["ci"])
