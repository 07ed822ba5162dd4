"""What invoke canary asks for, prints and ends with; the flows themselves are stand-ins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.tasks.conftest import DIGEST, NAMES, REF, Flows, ended_with, rows

from slipway._internal.model.canary import Canary
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import load_workspace
from slipway._internal.release import canaries, canary_run
from slipway._internal.release.canaries import CanaryPlan, StackCanaries
from slipway._internal.release.deploy import DeployedService, DeployResult
from slipway._internal.release.releases import CanaryStep, DeployedRelease
from slipway._internal.tasks import canary as verbs

API = NAMES[0]
NEW = REF.replace("a1", "b2")
LIVE = DeployedRelease("r-1", "2026-12-01T09:30:00Z", "ann", "", False, "inline", "live", {API: REF})
STEP = CanaryStep("2026-12-01T10:30:00Z", "bob", API, NEW, 10.0, "share")
RESULT = DeployResult("dev", "inline", (DeployedService(API, DIGEST, "", "healthy"),), {"update": 1}, True, 1.0)


def plan(root: Path, stack: Stack, percent: int, *, promotes: bool = False, image: str = NEW) -> CanaryPlan:
    service = load_workspace(root).service(API)
    found = StackCanaries([LIVE], (), ())
    return CanaryPlan(stack, service, None, percent, image, promotes=promotes, release=None, found=found)


@pytest.fixture
def acting(flows: Flows, root: Path) -> Flows:
    flows.replace(canaries, "plan_share", lambda _, stack, __, percent, ___: plan(root, stack, percent))
    flows.replace(canaries, "plan_end", lambda _, stack, __, promotes: plan(root, stack, 0, promotes=promotes))
    flows.replace(canary_run, "execute_canary", RESULT)
    return flows


def test_without_words_it_shows_what_is_under_way_and_what_was_done(
    flows: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    flows.replace(canaries, "read_canaries", StackCanaries([LIVE], (Canary(API, NEW, 10),), (STEP,)))
    ended_with(0, verbs.canary)
    shown = [row for row in rows(capsys.readouterr().out) if API in row]
    assert len(shown) == 2 and shown[0][0] == API and "10 %" in " ".join(shown[0])
    ended_with(0, verbs.canary, json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["canaries"][0]["percent"], found["canaries"][0]["stable_image"]) == (10, REF)
    assert found["steps"] == [
        {"time": STEP.time, "actor": "bob", "service": API, "image": NEW, "percent": 10, "result": "share"}
    ]


def test_without_any_it_says_how_to_begin(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(canaries, "read_canaries", StackCanaries([LIVE], (), ()))
    ended_with(0, verbs.canary, stack="dev", list=True)
    assert "invoke canary SERVICE 10 --stack dev" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"percent": "10"}, "Each request is drawn anew"),
        ({"promote": True}, "runs what its canary ran"),
        ({"abort": True}, "go to what ran before"),
    ],
)
def test_it_acts_and_says_what_comes_next(
    acting: Flows, capsys: pytest.CaptureFixture[str], words: dict[str, Any], said: str
) -> None:
    ended_with(0, verbs.canary, service=API, **words)
    assert said in " ".join(capsys.readouterr().out.split())
    planned = acting.args("execute_canary")[1]
    assert planned.percent == int(words.get("percent", 0)) and planned.promotes is words.get("promote", False)


def test_dry_says_what_would_be_done_and_does_nothing(acting: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(0, verbs.canary, service=API, percent="25", dry=True)
    assert "25 % of requests go to b2b2b2b2b2b2" in " ".join(capsys.readouterr().out.split())
    ended_with(0, verbs.canary, service=API, promote=True, dry=True, json=True)
    assert json.loads(capsys.readouterr().out)["percent"] == 100
    assert "execute_canary" not in acting.calls


def test_a_protected_stack_asks(acting: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(2, verbs.canary, service=API, percent="10", stack="prod")
    assert "execute_canary" not in acting.calls
    ended_with(0, verbs.canary, service=API, percent="10", stack="prod", yes=True)


@pytest.mark.parametrize(
    "words",
    [
        {"service": API},
        {"service": API, "percent": "ten"},
        {"service": API, "percent": "10", "abort": True},
        {"service": API, "promote": True, "abort": True},
        {"service": API, "promote": True, "release": "r-1"},
        {"promote": True},
        {"service": API, "list": True},
        {"dry": True},
    ],
)
def test_words_that_do_not_go_together_are_refused(
    flows: Flows, capsys: pytest.CaptureFixture[str], words: dict[str, Any]
) -> None:
    ended_with(2, verbs.canary, **words)
    assert "canary" in capsys.readouterr().err
