"""What releases, rollback and promote ask for, print and end with; the flows themselves are stand-ins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.tasks.conftest import DIGEST, REF, Flows, ended_with, rows

from slipway._internal.context import protection
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.lock import LockEntry
from slipway._internal.model.stack import Stack
from slipway._internal.release import canary_guard, promotions, rollback
from slipway._internal.release import releases as history
from slipway._internal.release.deploy import DeployedService, DeployResult
from slipway._internal.release.promotions import Promotion, PromotionStep
from slipway._internal.release.releases import CanaryStep, DeployedRelease
from slipway._internal.release.rollback import Rollback, RollbackStep
from slipway._internal.tasks import releases as verbs

STEP = CanaryStep("2026-12-01T10:30:00Z", "bob", "service-000", REF, 10.0, "share")
LIVE = DeployedRelease("r2", "2026-11-30T10:00:00+00:00", "ann", "f" * 40, True, "inline", "live", {"service-000": REF})
STAGING, PROD = (Stack(name, Path(f"{name}.yaml"), "external", "docker", True) for name in ("staging", "prod"))
GOOD = DeployResult("dev", "external", (DeployedService("service-000", DIGEST, "", "healthy"),), {}, True, 2.0)
ENTRY = LockEntry(REF, "c" * 64)


def test_a_release_is_shown_with_its_actor_commit_and_images(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(history, "list_releases", [LIVE])
    flows.replace(canary_guard, "list_steps", [STEP])
    ended_with(0, verbs.releases)
    out = capsys.readouterr().out
    (line,) = (row for row in rows(out) if row[0] == "r2")
    assert line[3:7] == ("ann", "ffffffffff*", "inline", "live")
    assert line[7] == "service-000" and line[8].startswith("a1a1a1")
    assert any("10 % bob" in " ".join(row) for row in rows(out))


def test_releases_as_json_have_whole_digests(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(history, "list_releases", [LIVE])
    ended_with(0, verbs.releases, json=True)
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["id"], found["result"], found["digests"]) == ("r2", "live", {"service-000": REF})


@pytest.mark.parametrize(("stack", "command"), [("dev", "invoke up"), ("prod", "invoke deploy --stack prod")])
def test_a_stack_without_releases_says_how_to_make_one(
    flows: Flows, capsys: pytest.CaptureFixture[str], stack: str, command: str
) -> None:
    flows.replace(history, "list_releases", [])
    ended_with(0, verbs.releases, stack=stack)
    out = capsys.readouterr().out
    assert stack in out and command in out


@pytest.fixture
def way_back(flows: Flows) -> Flows:
    """Stand-ins for a rollback that goes well."""

    def plan(_context: object, stack: Stack, _release: str | None) -> Rollback:
        step = RollbackStep("service-000", "", REF, "goes back")
        return Rollback(stack, LIVE, (step,), ("gone",))

    flows.replace(rollback, "plan_release_rollback", plan)
    flows.replace(rollback, "resolve_entries")
    flows.replace(rollback, "execute_rollback", GOOD)
    return flows


def test_a_rollback_says_what_will_run_and_then_does_it_without_a_build(
    way_back: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    ended_with(0, verbs.rollback, "r2")
    assert way_back.args("plan_release_rollback")[2] == "r2"
    assert way_back.options("prepare_environment")["building"] is False
    out = capsys.readouterr().out
    assert any(row[:2] == ("service-000", "nothing") and row[-2:] == ("goes", "back") for row in rows(out))
    assert "r2" in out and "gone" in out and "dev is deployed" in out


def test_a_dry_rollback_verifies_and_changes_nothing(way_back: Flows) -> None:
    ended_with(0, verbs.rollback, dry=True)
    assert "resolve_entries" in way_back.calls and "execute_rollback" not in way_back.calls


def test_a_protected_stack_does_not_go_back_without_a_yes(way_back: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(2, verbs.rollback, stack="prod")
    assert "execute_rollback" not in way_back.calls and "prod" in capsys.readouterr().err
    ended_with(0, verbs.rollback, stack="prod", yes=True)
    assert "execute_rollback" in way_back.calls


def test_a_rollback_after_which_not_everything_answers_ends_with_1(
    way_back: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    sick = DeployResult("dev", "external", (DeployedService("service-000", DIGEST, "", "exited"),), {}, True, 2.0)
    way_back.replace(rollback, "execute_rollback", sick)
    ended_with(1, verbs.rollback)
    out, err = capsys.readouterr()
    assert "exited" in out and "invoke logs SERVICE --stack dev" in err


@pytest.fixture
def promoted(flows: Flows) -> Flows:
    """Stand-ins for a promotion that goes well."""
    step = PromotionStep("service-000", ENTRY, None, ENTRY)
    flows.replace(protection, "refuse_lost_protection")
    flows.replace(promotions, "plan_promotion", Promotion(STAGING, PROD, (step,)))
    flows.replace(promotions, "verify_promotion")
    flows.replace(promotions, "execute_promotion")
    return flows


@pytest.mark.parametrize("options", [{}, {"from_": "staging"}, {"to": "prod"}])
def test_a_promotion_needs_both_stacks(
    promoted: Flows, capsys: pytest.CaptureFixture[str], options: dict[str, str]
) -> None:
    ended_with(2, verbs.promote, **options)
    assert "--from staging --to prod" in capsys.readouterr().err
    assert "plan_promotion" not in promoted.calls


def test_a_promotion_says_what_is_locked_and_how_to_go_on(promoted: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(0, verbs.promote, from_="staging", to="prod", yes=True)
    assert [stack.name for stack in promoted.args("plan_promotion")[1:]] == ["staging", "prod"]
    assert promoted.options("prepare_environment")["gate"] == ("cosign",)
    out = capsys.readouterr().out
    assert ("service-000", "nothing", REF, "new") in rows(out)
    assert "invoke deploy --stack prod" in out
    assert "execute_promotion" in promoted.calls


def test_a_dry_promotion_verifies_and_locks_nothing(promoted: Flows) -> None:
    ended_with(0, verbs.promote, from_="staging", to="prod", dry=True)
    assert "verify_promotion" in promoted.calls and "execute_promotion" not in promoted.calls


def test_a_protected_stack_is_not_locked_without_a_yes(promoted: Flows) -> None:
    ended_with(2, verbs.promote, from_="staging", to="prod")
    assert "execute_promotion" not in promoted.calls


def test_what_is_locked_already_is_promoted_without_a_question(
    promoted: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    same = PromotionStep("service-000", ENTRY, ENTRY, ENTRY)
    promoted.replace(promotions, "plan_promotion", Promotion(STAGING, PROD, (same,)))
    ended_with(0, verbs.promote, from_="staging", to="prod")
    assert "already" in capsys.readouterr().out


def test_a_target_that_lost_its_protection_is_refused_before_tools_are_fetched(
    promoted: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    promoted.replace(protection, "refuse_lost_protection", ConfigError("prod was protected"))
    ended_with(2, verbs.promote, from_="staging", to="prod")
    assert "prepare_environment" not in promoted.calls


def test_all_kept_releases_are_in_the_json_but_only_the_last_in_the_table(
    flows: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [replace(LIVE, id=f"old{number}", result="good") for number in range(25)]
    flows.replace(history, "list_releases", [LIVE, *kept])
    flows.replace(canary_guard, "list_steps", [])
    ended_with(0, verbs.releases)
    shown = [row[0] for row in rows(capsys.readouterr().out) if row and row[0].startswith(("r2", "old"))]
    ended_with(0, verbs.releases, json=True)
    assert len(json.loads(capsys.readouterr().out)) == 26
    assert shown[0] == "r2" and len(shown) == history.MAX_RELEASES
