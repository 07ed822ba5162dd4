"""What a promotion does to each service, what it refuses, and the order of its steps."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.context import protection
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate.evidence import EvidenceRequirement
from slipway._internal.model import lock
from slipway._internal.model.errors import ConfigError, EvidenceError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, ServiceSettings, Workspace, WorkspaceSettings
from slipway._internal.release import promotions
from slipway._internal.release.promotions import Promotion

TODAY = date(2026, 3, 1)
HERE, THERE = "127.0.0.1:5000", "registry.example:5001/prod"
STAGING = Stack("staging", Path("Pulumi.staging.yaml"), "external", "docker", protected=False)
PROD = Stack("prod", Path("Pulumi.prod.yaml"), "external", "docker", protected=True)
ELSEWHERE = replace(PROD, registry=THERE)


def ref(service: str, letter: str, registry: str = HERE) -> str:
    return f"{registry}/shop/release/{service}@sha256:{letter * 64}"


def entry(service: str, letter: str, registry: str = HERE) -> lock.LockEntry:
    return lock.LockEntry(ref(service, letter, registry), letter * 64, "d" * 40, {"sbom": f"sha256:{letter * 64}"})


@pytest.fixture
def run_context(tmp_path: Path) -> RunContext:
    services = tuple(
        Service(name, tmp_path / "services" / name, ServiceSettings(kind="python-api")) for name in ("api", "web")
    )
    return RunContext(Workspace(tmp_path, WorkspaceSettings("shop", HERE), services), tmp_path / "bin", {})


GATEWAY = lock.GATEWAY


def write(run_context: RunContext, stack: str, *, beside: bool = True, **entries: lock.LockEntry) -> None:
    own = {GATEWAY: entry(GATEWAY, "9")} if beside else {}
    lock.save(run_context.workspace.root, lock.Lock(stack, services=entries, beside=own))


def read(run_context: RunContext, stack: str) -> dict[str, lock.LockEntry]:
    return lock.load(run_context.workspace.root, stack).services


@pytest.fixture
def staged(run_context: RunContext) -> RunContext:
    """A workspace whose staging stack is locked to what has passed the gate."""
    write(run_context, "staging", api=entry("api", "2"), web=entry("web", "1"))
    return run_context


@pytest.fixture
def performed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was done, in order: verified, copied, tagged, and which image."""
    steps: list[tuple[str, str]] = []

    def verify(
        _context: RunContext, requirements: list[EvidenceRequirement], *_trust: Any, today: date
    ) -> dict[str, None]:
        assert today == TODAY
        assert all(each.evidence and each.content and each.commit for each in requirements)
        steps.extend(("verified", each.ref) for each in requirements)
        return {each.service: None for each in requirements}

    def copy(_crane: Path, source: str, target: str, **_more: Any) -> None:
        steps.append(("copied", f"{target}@{source.partition('@')[2]}"))

    class Registry:
        def __init__(self, host: str, purpose: str, _workspace: object) -> None:
            assert purpose == "push"
            self.host = host

        def add_tag(self, repository: str, digest: str, tag: str) -> None:
            steps.append((f"tagged {tag}", f"{self.host}/{repository}@{digest}"))

    monkeypatch.setattr(promotions.evidence, "verify_evidence", verify)
    monkeypatch.setattr(promotions.registry, "copy_image", copy, raising=False)
    monkeypatch.setattr(promotions.registry, "open_registry", Registry)
    monkeypatch.setattr(promotions, "find_tags", lambda *_: ["v1", f"h-{'2' * 64}"])
    return steps


def test_each_service_is_the_same_moved_or_new(staged: RunContext) -> None:
    write(staged, "prod", api=entry("api", "1"))
    steps = promotions.plan_promotion(staged, STAGING, PROD).steps
    assert [(step.service, step.note, step.new_entry.ref) for step in steps] == [
        ("api", "moved", ref("api", "2")),
        ("web", "new", ref("web", "1")),
        (GATEWAY, "same", ref(GATEWAY, "9")),
    ]
    write(staged, "prod", api=entry("api", "1"), web=entry("web", "1"))
    assert [step.note for step in promotions.plan_promotion(staged, STAGING, PROD).steps] == ["moved", "same", "same"]


def test_a_stack_is_not_promoted_to_itself(staged: RunContext) -> None:
    with pytest.raises(ConfigError, match="itself"):
        promotions.plan_promotion(staged, STAGING, STAGING)


def test_what_is_of_no_commit_is_not_promoted_to_a_protected_stack(run_context: RunContext) -> None:
    api = lock.LockEntry(ref("api", "2"), "2" * 64, None, {"sbom": f"sha256:{'2' * 64}"})
    write(run_context, "staging", api=api, web=entry("web", "1"))
    assert promotions.plan_promotion(run_context, STAGING, replace(STAGING, name="test")).has_changes
    with pytest.raises(EvidenceError, match="api: names no commit") as caught:
        promotions.plan_promotion(run_context, STAGING, PROD)
    assert caught.value.exit_code == 4


def test_a_lock_without_the_gateway_is_stale_for_a_protected_stack_and_goes_on_to_others(
    run_context: RunContext,
) -> None:
    write(run_context, "staging", beside=False, api=entry("api", "2"), web=entry("web", "1"))
    assert promotions.plan_promotion(run_context, STAGING, replace(STAGING, name="test")).has_changes
    with pytest.raises(EvidenceError, match=r"staging\.lock\.json is stale") as caught:
        promotions.plan_promotion(run_context, STAGING, PROD)
    assert caught.value.exit_code == 4 and "invoke ship --stack staging" in caught.value.remedy
    assert promotions.plan_promotion(run_context, STAGING, replace(PROD, target="kubernetes")).has_changes


def test_a_stack_that_lost_its_protection_gets_nothing(staged: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protection, "was_protected", lambda *_: True)
    with pytest.raises(ConfigError, match="was protected when it was last deployed"):
        promotions.plan_promotion(staged, STAGING, replace(PROD, protected=False))


def test_a_service_that_is_not_locked_keeps_all_back(run_context: RunContext) -> None:
    write(run_context, "staging", api=entry("api", "2"))
    with pytest.raises(EvidenceError, match="no digest for web") as caught:
        promotions.plan_promotion(run_context, STAGING, PROD)
    assert "invoke ship --stack staging" in caught.value.remedy


def test_an_image_that_went_through_no_gate_is_refused(run_context: RunContext) -> None:
    write(run_context, "staging", api=entry("api", "2"), web=lock.LockEntry(ref("web", "1"), "1" * 64))
    with pytest.raises(EvidenceError, match="no evidence that web passed"):
        promotions.plan_promotion(run_context, STAGING, PROD)


def test_in_one_registry_nothing_is_copied_and_all_is_verified(
    staged: RunContext, performed: list[tuple[str, str]]
) -> None:
    carry_out(staged, promotions.plan_promotion(staged, STAGING, PROD))
    assert performed == [("verified", ref("api", "2")), ("verified", ref("web", "1")), ("verified", ref(GATEWAY, "9"))]
    assert read(staged, "prod") == read(staged, "staging")


def carry_out(run_context: RunContext, promotion: Promotion) -> None:
    promotions.execute_promotion(run_context, promotion, NullReporter(), today=TODAY)


def test_between_registries_the_tags_come_after_the_proof_and_the_lock_last(
    staged: RunContext, performed: list[tuple[str, str]]
) -> None:
    carry_out(staged, promotions.plan_promotion(staged, STAGING, ELSEWHERE))
    api, web = ref("api", "2", THERE), ref("web", "1", THERE)
    own = {GATEWAY: ref(GATEWAY, "9", THERE)}
    assert [step for step in performed if step[1].endswith("9")] == [
        ("verified", ref(GATEWAY, "9")),
        ("copied", own[GATEWAY]),
        ("verified", own[GATEWAY]),
        ("tagged v1", own[GATEWAY]),
        (f"tagged h-{'2' * 64}", own[GATEWAY]),
        (f"tagged h-{'9' * 64}", own[GATEWAY]),
    ]
    assert lock.load(staged.workspace.root, "prod").beside == {GATEWAY: entry(GATEWAY, "9", THERE)}
    assert [step for step in performed if not step[1].endswith("9")] == [
        ("verified", ref("api", "2")),
        ("verified", ref("web", "1")),
        ("copied", api),
        ("copied", web),
        ("verified", api),
        ("verified", web),
        ("tagged v1", api),
        (f"tagged h-{'2' * 64}", api),
        ("tagged v1", web),
        (f"tagged h-{'2' * 64}", web),
        (f"tagged h-{'1' * 64}", web),
    ]
    assert read(staged, "prod") == {"api": entry("api", "2", THERE), "web": entry("web", "1", THERE)}


@pytest.mark.parametrize("broken", ["verified", "copied", "tagged"])
def test_whatever_fails_the_targets_lock_is_as_it_was(
    staged: RunContext, performed: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    write(staged, "prod", api=entry("api", "1"))
    before = read(staged, "prod")

    def fail(*_words: Any, **_more: Any) -> None:
        raise EvidenceError("it is not what it says")

    module, name = {
        "verified": (promotions.evidence, "verify_evidence"),
        "copied": (promotions.registry, "copy_image"),
        "tagged": (promotions, "find_tags"),
    }[broken]
    monkeypatch.setattr(module, name, fail)
    with pytest.raises(EvidenceError):
        carry_out(staged, promotions.plan_promotion(staged, STAGING, ELSEWHERE))
    assert read(staged, "prod") == before


def test_a_dry_promotion_verifies_where_the_images_are_and_changes_nothing(
    staged: RunContext, performed: list[tuple[str, str]]
) -> None:
    promotion = promotions.plan_promotion(staged, STAGING, ELSEWHERE)
    promotions.verify_promotion(staged, promotion, NullReporter(), today=TODAY)
    assert performed == [("verified", ref("api", "2")), ("verified", ref("web", "1")), ("verified", ref(GATEWAY, "9"))]
    assert read(staged, "prod") == {}
    assert "would be locked" in promotion.summary(dry=True)


def test_what_is_promoted_already_is_said(staged: RunContext, performed: list[tuple[str, str]]) -> None:
    carry_out(staged, promotions.plan_promotion(staged, STAGING, PROD))
    again = promotions.plan_promotion(staged, STAGING, PROD)
    assert not again.has_changes
    assert "already" in again.summary(dry=False)


def test_the_target_keeps_what_it_has_of_services_that_are_gone(
    staged: RunContext, performed: list[tuple[str, str]]
) -> None:
    write(staged, "prod", old=entry("old", "5"))
    carry_out(staged, promotions.plan_promotion(staged, STAGING, PROD))
    assert read(staged, "prod")["old"] == entry("old", "5")
