"""What invoke consumer asks for, prints and ends with; the flows themselves are stand-ins."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.tasks.conftest import Flows, ended_with, rows

from slipway._internal.model.errors import ConfigError
from slipway._internal.release import consumers
from slipway._internal.release.consumers import ConsumerRow
from slipway._internal.tasks import consumer as verbs

KEY = "slw_0123456789"
ROWS = [ConsumerRow("shop", ("partners",), (datetime(2026, 12, 1, 9, 30, tzinfo=UTC),)), ConsumerRow("bank", (), ())]


@pytest.mark.parametrize(("action", "flow"), [("add", "add_key"), ("rotate", "rotate_key")])
def test_a_key_is_all_that_is_on_standard_output(
    flows: Flows, capsys: pytest.CaptureFixture[str], action: str, flow: str
) -> None:
    flows.replace(consumers, flow, KEY)
    ended_with(0, verbs.consumer, action=action, name="shop", stack="staging")
    shown = capsys.readouterr()
    assert shown.out == f"{KEY}\n"
    assert "not shown again" in shown.err and "invoke deploy --stack staging" in shown.err
    assert KEY not in shown.err
    assert ("--finish" in shown.err) is (action == "rotate")
    assert flows.args(flow)[2] == "shop" and flows.args(flow)[1].name == "staging"


@pytest.mark.parametrize(
    ("words", "flow"),
    [({"action": "remove"}, "remove_keys"), ({"action": "rotate", "finish": True}, "finish_rotation")],
)
def test_what_ends_keys_prints_none(
    flows: Flows, capsys: pytest.CaptureFixture[str], words: dict[str, Any], flow: str
) -> None:
    flows.replace(consumers, flow)
    ended_with(0, verbs.consumer, name="shop", **words)
    shown = capsys.readouterr()
    assert shown.out == "" and "`invoke up`" in shown.err
    assert flows.args(flow)[2] == "shop"


def test_the_list_is_a_table_or_json(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(consumers, "list_consumers", ROWS)
    ended_with(0, verbs.consumer, action="list")
    shown = rows(capsys.readouterr().out)
    assert [row[:2] for row in shown if row and row[0] in ("shop", "bank")] == [("shop", "partners"), ("bank", "none")]
    ended_with(0, verbs.consumer, action="list", json=True)
    assert json.loads(capsys.readouterr().out)[0] == {
        "name": "shop",
        "groups": ["partners"],
        "keys": ["2026-12-01T09:30:00+00:00"],
    }


def test_without_consumers_it_says_how_to_have_one(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(consumers, "list_consumers", [])
    ended_with(0, verbs.consumer, action="list")
    assert "[consumers.NAME] in workspace.toml" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"action": "give", "name": "shop"}, "unknown action 'give'"),
        ({"action": "add"}, "`consumer add` is not called like this"),
        ({"action": "list", "name": "shop"}, "`consumer list` is not called like this"),
        ({"action": "add", "name": "shop", "finish": True}, "`consumer add` is not called like this"),
    ],
)
def test_other_words_are_refused(
    flows: Flows, capsys: pytest.CaptureFixture[str], words: dict[str, Any], said: str
) -> None:
    ended_with(2, verbs.consumer, **words)
    assert said in capsys.readouterr().err


def test_a_refusal_is_a_message(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(consumers, "add_key", ConfigError("workspace.toml has no consumer 'x'", remedy="Add it."))
    ended_with(2, verbs.consumer, action="add", name="x")
    shown = capsys.readouterr()
    assert shown.out == "" and "has no consumer" in shown.err
