"""What up, deploy, preview, down and unlock ask for, print and end with; the flows themselves are stand-ins."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.tasks.conftest import DIGEST, Flows, ended_with, rows

from slipway._internal import targets
from slipway._internal.build import build_command
from slipway._internal.context import protection
from slipway._internal.model.errors import SlipwayError
from slipway._internal.prune import machine
from slipway._internal.release import deploy as flow
from slipway._internal.release import deploy_locks, side_by_side
from slipway._internal.release.deploy import DeployedService, DeployResult
from slipway._internal.run.pulumi import Outcome
from slipway._internal.targets.target import DataVolume
from slipway._internal.tasks import ship as verbs
from slipway._internal.tasks import show

ROW = DeployedService("service-000", DIGEST, "http://127.0.0.1:8080/s0", "200")


def result(*rows_: DeployedService, changed: bool = True) -> DeployResult:
    return DeployResult("dev", "inline", rows_, {"create": 1}, changed, 1.25)


@pytest.fixture
def deployed(flows: Flows) -> Flows:
    """Stand-ins for a deploy that goes well."""
    flows.replace(flow, "deploy_stack", result(ROW))
    flows.replace(flow, "refuse_foreign_objects_early")
    flows.replace(build_command, "build_ahead_if_many")
    return flows


@pytest.fixture
def removed(flows: Flows) -> Flows:
    """Stand-ins for a stack that can be removed."""
    flows.replace(flow, "remove_stack", Outcome({"delete": 3}, {}))
    flows.replace(machine, "stop_daemons")
    flows.replace(protection, "was_protected", False)
    flows.replace(targets, "target_of", SimpleNamespace(data_volumes=list))
    return flows


def test_up_installs_builds_and_deploys_and_prints_the_urls(
    deployed: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    ended_with(0, verbs.up)
    asked = deployed.options("prepare_environment")
    assert (asked["building"], asked["install"], asked["stack"].name) == (True, True, "dev")
    assert "build_ahead_if_many" in deployed.calls
    out = capsys.readouterr().out
    assert ("service-000", DIGEST, "http://127.0.0.1:8080/s0", "200") in rows(out)
    assert "dev is deployed (inline, 1.2 s)" in out


def test_objects_of_another_folder_are_refused_before_anything_is_installed(
    deployed: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.replace(flow, "refuse_foreign_objects_early", SlipwayError("dev is another folder's"))
    ended_with(1, verbs.up)
    assert "another folder" in capsys.readouterr().err
    assert "prepare_environment" not in deployed.calls


def test_up_without_installing_hands_that_on(deployed: Flows) -> None:
    ended_with(0, verbs.up, no_install=True)
    assert deployed.options("prepare_environment")["install"] is False


def test_a_deploy_that_changed_nothing_says_so(deployed: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.replace(flow, "deploy_stack", result(ROW, changed=False))
    ended_with(0, verbs.deploy)
    assert "Nothing changed: dev" in capsys.readouterr().out


def test_a_stack_on_which_not_everything_answers_is_printed_and_ends_with_1(
    deployed: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.replace(flow, "deploy_stack", result(DeployedService("service-000", DIGEST, "", "unhealthy")))
    ended_with(1, verbs.deploy)
    out, err = capsys.readouterr()
    assert "unhealthy" in out and "invoke logs SERVICE --stack dev" in err


def test_a_deploy_as_json_has_rows_and_says_whether_all_is_healthy(
    deployed: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    ended_with(0, verbs.deploy, json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["stack"], found["healthy"], found["rows"][0]["digest"]) == ("dev", True, DIGEST)


def test_a_protected_stack_is_not_deployed_without_a_yes(deployed: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(2, verbs.deploy, stack="prod")
    assert "prod" in capsys.readouterr().err
    assert "deploy_stack" not in deployed.calls


def test_with_yes_a_protected_stack_is_deployed_with_the_signer_and_without_a_build(deployed: Flows) -> None:
    ended_with(0, verbs.deploy, stack="prod", yes=True)
    asked = deployed.options("prepare_environment")
    assert (asked["building"], asked["gate"]) == (False, ("cosign",))
    assert "build_ahead_if_many" not in deployed.calls


def test_unprotect_is_handed_on_to_the_deploy(deployed: Flows) -> None:
    ended_with(0, verbs.deploy, unprotect=True)
    assert deployed.args("deploy_stack")[1].protection_lifted is True


def test_a_mode_by_the_environment_is_noted_beside_the_result(
    deployed: Flows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLIPWAY_IMAGES", "external")
    ended_with(0, verbs.deploy, json=True)
    out, err = capsys.readouterr()
    assert "SLIPWAY_IMAGES=external" in err and "SLIPWAY_IMAGES" not in out


@pytest.mark.parametrize(("beside", "name"), [(True, None), ("left", "left")])
def test_beside_gives_the_checkout_a_name_of_its_own_before_the_deploy(
    deployed: Flows, beside: str | bool, name: str | None
) -> None:
    def assign(*_args: Any) -> None:
        assert "deploy_stack" not in deployed.calls

    deployed.replace(side_by_side, "assign_suffix_and_port", assign)
    ended_with(0, verbs.up, beside=beside)
    assert deployed.args("assign_suffix_and_port")[2] == name
    assert "deploy_stack" in deployed.calls


@pytest.mark.parametrize(("verb", "options"), [("preview", {}), ("deploy", {"dry": True}), ("up", {"dry": True})])
def test_a_preview_prints_what_would_change_and_deploys_nothing(
    deployed: Flows, capsys: pytest.CaptureFixture[str], verb: str, options: dict[str, bool]
) -> None:
    deployed.replace(flow, "preview_stack", (["    + a:b:C: (create)"], Outcome({"create": 2, "same": 4}, {})))
    ended_with(0, getattr(verbs, verb), **options)
    out = capsys.readouterr().out
    assert "    + a:b:C: (create)\n" in out and "dev: 2 to create." in out
    assert "deploy_stack" not in deployed.calls
    assert deployed.options("prepare_environment")["preview"] is True


def test_a_preview_of_what_is_in_place_says_that_nothing_would_change(
    deployed: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.replace(flow, "preview_stack", ([], Outcome({"same": 4}, {})))
    ended_with(0, verbs.preview, stack="prod")
    assert "prod: nothing would change." in capsys.readouterr().out
    assert deployed.options("prepare_environment")["building"] is False


def test_down_says_how_much_it_removed(removed: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(0, verbs.down, abandoned=True)
    assert removed.options("remove_stack") == {"also_abandoned": True}
    assert "dev: 3 resources removed." in capsys.readouterr().out
    assert "stop_daemons" not in removed.calls


def test_down_of_what_does_not_run_says_that(removed: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    removed.replace(flow, "remove_stack", Outcome({}, {}))
    ended_with(0, verbs.down, machine=True)
    assert "dev: nothing was running." in capsys.readouterr().out
    assert "stop_daemons" in removed.calls


def test_a_dry_down_lists_what_runs_and_removes_nothing(
    removed: Flows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = SimpleNamespace(running_images=lambda: [("many-service-000", "image:1")])
    removed.replace(targets, "target_of", target)
    ended_with(0, verbs.down, dry=True)
    assert ("many-service-000", "image:1") in rows(capsys.readouterr().out)
    assert "remove_stack" not in removed.calls


class Data:
    """A target whose services have data, until it is removed."""

    def __init__(self) -> None:
        self.volumes = [DataVolume("many-dev-db.data", "db")]
        self.typed: list[str] = []

    def data_volumes(self) -> list[DataVolume]:
        return list(self.volumes)

    def remove_data_volume(self, volume: DataVolume) -> None:
        self.volumes.remove(volume)

    def running_images(self) -> list[tuple[str, str]]:
        return []


def test_down_keeps_data_and_says_so(removed: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    data = Data()
    removed.replace(targets, "target_of", data)
    ended_with(0, verbs.down, yes=True)
    assert len(data.volumes) == 1
    assert "Kept, with its data: many-dev-db.data" in capsys.readouterr().out


@pytest.mark.parametrize(("typed", "code", "left"), [("many-dev", 0, 0), ("many", 2, 1), ("", 2, 1), ("y", 2, 1)])
def test_data_is_removed_when_its_name_is_typed_whatever_yes_says(
    removed: Flows, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, left: int
) -> None:
    data = Data()
    removed.replace(targets, "target_of", data)
    monkeypatch.setattr(show, "ask", lambda _question: typed)
    ended_with(code, verbs.down, volumes=True, yes=True)
    assert len(data.volumes) == left
    assert ("remove_stack" in removed.calls) == (not code)


def test_a_dry_down_lists_the_data_that_would_go(removed: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    data = Data()
    removed.replace(targets, "target_of", data)
    ended_with(0, verbs.down, volumes=True, dry=True)
    assert "data of db" in capsys.readouterr().out and len(data.volumes) == 1


@pytest.mark.parametrize(("stack", "was_protected"), [("prod", False), ("dev", True)])
def test_what_is_or_was_protected_is_not_removed_without_a_yes(
    removed: Flows, capsys: pytest.CaptureFixture[str], stack: str, was_protected: bool
) -> None:
    removed.replace(protection, "was_protected", was_protected)
    ended_with(2, verbs.down, stack=stack)
    assert stack in capsys.readouterr().err and "remove_stack" not in removed.calls
    ended_with(0, verbs.down, stack=stack, yes=True)
    assert removed.args("remove_stack")[1].protected is True


@pytest.mark.parametrize(("count", "said"), [(1, "dev: it is free"), (0, "dev: nobody held a lock")])
def test_unlock_says_whether_there_was_a_lock(
    flows: Flows, capsys: pytest.CaptureFixture[str], count: int, said: str
) -> None:
    flows.replace(flow, "open_stack", "the stack")
    flows.replace(deploy_locks, "remove_locks", count)
    ended_with(0, verbs.unlock)
    assert flows.args("remove_locks")[0] == "the stack"
    assert said in capsys.readouterr().out
