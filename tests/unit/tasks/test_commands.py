"""What exec and run pass on: the words after the dashes just as they are, and the command's exit code."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from tests.unit.tasks.conftest import Flows, ended_with

from slipway._internal.release import commands as flow
from slipway._internal.tasks import commands as verbs


@pytest.mark.parametrize(
    ("verb", "function"), [(verbs.exec_in_service, "exec_command"), (verbs.run, "run_command")], ids=["exec", "run"]
)
def test_a_command_gets_its_words_as_they_are_and_its_exit_code_is_the_verbs(
    flows: Flows, monkeypatch: pytest.MonkeyPatch, verb: Any, function: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["invoke", "run", "service-000", "--", "sh", "-c", "a  b", "--", "--stack"])
    flows.replace(flow, function, 7)
    ended_with(7, verb, service="service-000", stack="staging")
    assert flows.args(function)[1:] == ("staging", "service-000", ["sh", "-c", "a  b", "--", "--stack"])


@pytest.mark.parametrize("argv", [["invoke", "exec", "service-000"], ["invoke", "exec", "service-000", "--"]])
def test_without_words_after_the_dashes_there_is_no_command(
    flows: Flows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    ended_with(2, verbs.exec_in_service, service="service-000", stack="prod")
    printed = capsys.readouterr()
    assert "invoke exec service-000 --stack prod -- COMMAND" in printed.out + printed.err


def test_a_service_that_there_is_not_is_named_with_those_that_there_are(
    flows: Flows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["invoke", "run", "nope", "--", "true"])
    ended_with(2, verbs.run, service="nope")
    printed = capsys.readouterr()
    assert "nope" in printed.out + printed.err and "service-000" in printed.out + printed.err


class Target:
    """A place where services run, which keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, list[str]]] = []

    def exec_command(self, service: str, command: list[str]) -> int:
        self.asked.append(("exec", service, command))
        return 0

    def run_command(self, service: str, command: list[str]) -> int:
        self.asked.append(("run", service, command))
        return 3


def test_the_stacks_own_target_runs_it(flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target()
    monkeypatch.setattr(sys, "argv", ["invoke", "exec", "service-001", "--", "true"])
    flows.replace(flow, "target_of", target)
    ended_with(0, verbs.exec_in_service, service="service-001", stack="staging")
    ended_with(3, verbs.run, service="service-001", stack="staging")
    assert target.asked == [("exec", "service-001", ["true"]), ("run", "service-001", ["true"])]
    assert {args[1].name for args, _ in flows.calls["target_of"]} == {"staging"}
