"""What was protected becomes open only where somebody says so."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from slipway._internal.context import protection
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.stack import UNPROTECT_VARIABLE, Stack
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway._internal.provider.handler import ResourceState
from slipway._internal.provider.protection import ProtectionHandler
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.run.state import state_file

OPEN = Stack("prod", Path("Pulumi.prod.yaml"), "inline", "docker", protected=False)
CLOSED = Stack("prod", Path("Pulumi.prod.yaml"), "external", "docker", protected=True)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv(UNPROTECT_VARIABLE, raising=False)
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.yaml").write_text("name: shop\nbackend:\n  url: file://../state\n")
    return Workspace(tmp_path, WorkspaceSettings("shop", "127.0.0.1:5000"), ())


def deployed(shop: Workspace, protected: object, stack: str = "prod") -> Path:
    """Write the state that a deploy leaves."""
    path = state_file(shop.root / "state", "shop", stack)
    path.parent.mkdir(parents=True, exist_ok=True)
    resource = {"type": protection.PROTECTION_TYPE, "inputs": {"stack": stack, "protected": protected}}
    path.write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": [{"type": "x"}, resource]}}}))
    return path


def test_what_was_protected_and_is_no_more_is_refused(shop: Workspace) -> None:
    deployed(shop, True)
    protection.refuse_lost_protection(shop, CLOSED)
    with pytest.raises(ConfigError, match="was protected when it was last deployed") as caught:
        protection.refuse_lost_protection(shop, OPEN)
    assert caught.value.exit_code == 2 and "--unprotect" in caught.value.remedy


def test_it_is_let_go_where_somebody_says_so_of_this_very_stack(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(shop, True)
    protection.refuse_lost_protection(shop, replace(OPEN, protection_lifted=True))
    for variable, refused in (("prod", False), ("staging", True), ("", True)):
        monkeypatch.setenv(UNPROTECT_VARIABLE, variable)
        with pytest.raises(ConfigError, match="was protected") if refused else nullcontext():
            protection.refuse_lost_protection(shop, OPEN)


@pytest.mark.parametrize("protected", [False, "true", 1, None])
def test_only_a_record_that_says_so_was_protected(shop: Workspace, protected: object) -> None:
    deployed(shop, protected)
    assert not protection.was_protected(shop, "prod")
    assert not protection.was_protected(shop, "staging")


@pytest.mark.parametrize("text", ["", "{", '{"checkpoint": {"latest": null}}', f'["{protection.PROTECTION_TYPE}"]'])
def test_a_state_that_cannot_be_read_is_pulumis_affair(shop: Workspace, text: str) -> None:
    deployed(shop, True).write_text(text)
    assert not protection.was_protected(shop, "prod")


def test_a_state_elsewhere_is_compared_by_pulumi(shop: Workspace) -> None:
    deployed(shop, True)
    (shop.root / "infra" / "Pulumi.yaml").write_text("name: shop\nbackend:\n  url: s3://bucket\n")
    assert not protection.was_protected(shop, "prod")


def inputs(protected: bool) -> dict[str, object]:
    return {"stack": "prod", "protected": protected}


@pytest.mark.parametrize(
    ("before", "after", "unprotected", "refused"),
    [
        (True, False, None, True),
        (True, False, "staging", True),
        (True, False, "prod", False),
        (True, True, None, False),
        (False, False, None, False),
        (False, True, None, False),
    ],
)
def test_pulumi_itself_refuses_to_take_protection_away_unasked(
    monkeypatch: pytest.MonkeyPatch, before: bool, after: bool, unprotected: str | None, refused: bool
) -> None:
    monkeypatch.delenv(UNPROTECT_VARIABLE, raising=False)
    if unprotected:
        monkeypatch.setenv(UNPROTECT_VARIABLE, unprotected)
    found = ProtectionHandler().validate_change(inputs(before), inputs(after))
    assert bool(found) is refused
    assert all("SLIPWAY_UNPROTECT=prod" in reason for _, reason in found)


@pytest.mark.parametrize(("lifted", "refused"), [("prod", False), ("staging", True), ("", True)])
def test_the_deploy_that_runs_in_this_process_says_whose_protection_it_takes_away(
    monkeypatch: pytest.MonkeyPatch, lifted: str, refused: bool
) -> None:
    monkeypatch.delenv(UNPROTECT_VARIABLE, raising=False)
    assert bool(ProtectionHandler(lambda: lifted).validate_change(inputs(True), inputs(False))) is refused


def test_a_first_deploy_has_nothing_to_compare_with() -> None:
    assert ProtectionHandler().validate_change({}, inputs(False)) == []
    assert ProtectionHandler().create("urn", inputs(True), CancellationToken()).outputs == inputs(True)


def test_a_change_of_protection_is_an_update_in_place() -> None:
    diff = ProtectionHandler().diff(ResourceState("urn", "protection", inputs(False), {}), inputs(True))
    assert (list(diff.changed), list(diff.replaces)) == (["protected"], [])
