"""`invoke prune` says what goes before it goes, and deletes nothing that nobody confirmed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.tasks.conftest import DIGEST, Flows, ended_with, rows

from slipway._internal.prune import machine_cleanup
from slipway._internal.prune import prune as flow
from slipway._internal.prune.prune import Deletion, PrunePlan
from slipway._internal.release import releases
from slipway._internal.tasks.gate import prune
from slipway._internal.toolchain.leftovers import Leftover

EMPTY = PrunePlan((), (), (), 0, 0, ())
DELETION = Deletion("127.0.0.1:1/many/service-000", DIGEST, "older than 30 days", frozenset({DIGEST}), 5_000_000)
PLAN = PrunePlan((), (DELETION,), (), 0, 0, ())


@pytest.fixture
def pruned(flows: Flows) -> Flows:
    """Stand-ins for a prune that would delete one image."""
    flows.replace(releases, "needed_digests", {"sha256:needed": "a release"})
    flows.replace(flow, "plan_prune", PLAN)
    flows.replace(flow, "execute_prune")
    return flows


def test_with_nothing_to_delete_nobody_is_asked(pruned: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    pruned.replace(flow, "plan_prune", EMPTY)
    ended_with(0, prune)
    assert "Nothing to delete." in capsys.readouterr().out
    assert "execute_prune" not in pruned.calls


def test_a_dry_prune_says_what_would_go_and_deletes_nothing(pruned: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(0, prune, dry=True)
    out = capsys.readouterr().out
    assert any("many/service-000" in " ".join(row) and "30" in row for row in rows(out))
    assert "1 images" in out and "Nothing was deleted." in out
    assert "execute_prune" not in pruned.calls


def test_what_nobody_confirmed_stays_and_the_remedy_names_yes(
    pruned: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    ended_with(2, prune)
    assert "--yes" in capsys.readouterr().err
    assert "execute_prune" not in pruned.calls


def test_with_yes_the_plan_is_carried_out_and_what_is_needed_is_asked_again(
    pruned: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[dict[str, str]] = [{"sha256:before": "a release"}, {"sha256:since": "a newer release"}]
    pruned.replace(releases, "needed_digests", lambda _context: answers.pop(0))
    ended_with(0, prune, yes=True)
    _, plan, _, needed = pruned.args("execute_prune")
    assert (plan, needed) == (PLAN, {"sha256:since": "a newer release"})
    assert "Deleted." in capsys.readouterr().out


def test_what_is_left_on_the_machine_goes_only_where_that_is_said(
    pruned: Flows, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    removed: list[str] = []
    old_tool = Leftover("crane 0.19", "another version is in use", 12_000_000, lambda: removed.append("crane"))
    pruned.replace(flow, "plan_prune", EMPTY)
    pruned.replace(machine_cleanup, "find_machine_leftovers", [old_tool])
    ended_with(0, prune, yes=True)
    assert "find_machine_leftovers" not in pruned.calls and not removed
    ended_with(0, prune, yes=True, machine=True)
    (needed,) = (args[1] for args, _ in pruned.calls["find_machine_leftovers"])
    assert needed == {"sha256:needed": "a release"}
    out = capsys.readouterr().out
    assert removed == ["crane"] and "crane 0.19" in out and "12 MB" in out


def test_a_yes_in_a_terminal_is_enough(pruned: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(question: str) -> Any:
        asked.append(question)
        return "y"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", answer)
    ended_with(0, prune)
    assert len(asked) == 1 and "1 images" in asked[0]
    assert "execute_prune" in pruned.calls
