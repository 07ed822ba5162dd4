"""What a promotion means for each service, what it refuses, and what it does in which order."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from slipway.flows import promote, protection
from slipway.flows.evidence import Wanted
from slipway.flows.promote import Promotion
from slipway.flows.report import Silence
from slipway.flows.standing import Ground
from slipway.model import lock
from slipway.model.errors import ConfigError, EvidenceError
from slipway.model.stack import Stack
from slipway.model.workspace import Service, ServiceSettings, Settings, Workspace

TODAY = date(2026, 3, 1)
HERE, THERE = "127.0.0.1:5000", "registry.example:5001/prod"
STAGING = Stack("staging", Path("Pulumi.staging.yaml"), "external", "docker", protected=False)
PROD = Stack("prod", Path("Pulumi.prod.yaml"), "external", "docker", protected=True)
ELSEWHERE = replace(PROD, registry=THERE)


def ref(service: str, letter: str, registry: str = HERE) -> str:
    return f"{registry}/shop/release/{service}@sha256:{letter * 64}"


def entry(service: str, letter: str, registry: str = HERE) -> lock.Entry:
    return lock.Entry(ref(service, letter, registry), letter * 64, "d" * 40, {"sbom": f"sha256:{letter * 64}"})


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    services = tuple(
        Service(name, tmp_path / "services" / name, ServiceSettings("python-api")) for name in ("api", "web")
    )
    return Ground(Workspace(tmp_path, Settings("shop", HERE), services), tmp_path / "bin", {})


GATEWAY = lock.GATEWAY


def write(ground: Ground, stack: str, *, beside: bool = True, **entries: lock.Entry) -> None:
    own = {GATEWAY: entry(GATEWAY, "9")} if beside else {}
    lock.save(ground.workspace.root, lock.Lock(stack, services=entries, beside=own))


def read(ground: Ground, stack: str) -> dict[str, lock.Entry]:
    return lock.load(ground.workspace.root, stack).services


@pytest.fixture
def staged(ground: Ground) -> Ground:
    """A workspace whose staging stack is locked to what has passed the gate."""
    write(ground, "staging", api=entry("api", "2"), web=entry("web", "1"))
    return ground


@pytest.fixture
def did(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was done, in order: verified, copied, tagged, and which image."""
    steps: list[tuple[str, str]] = []

    def verify(_ground: Ground, wanted: list[Wanted], *_trust: Any, today: date) -> dict[str, None]:
        assert today == TODAY
        assert all(each.evidence and each.content and each.commit for each in wanted)
        steps.extend(("verified", each.ref) for each in wanted)
        return {each.service: None for each in wanted}

    def copy(_crane: Path, source: str, target: str, **_more: Any) -> None:
        steps.append(("copied", f"{target}@{source.partition('@')[2]}"))

    class Registry:
        def __init__(self, host: str, purpose: str) -> None:
            assert purpose == "push"
            self.host = host

        def tag(self, repository: str, digest: str, tag: str) -> None:
            steps.append((f"tagged {tag}", f"{self.host}/{repository}@{digest}"))

    monkeypatch.setattr(promote.evidence, "verify", verify)
    monkeypatch.setattr(promote.registry, "copy", copy, raising=False)
    monkeypatch.setattr(promote.registry, "open", Registry)
    monkeypatch.setattr(promote, "tags_of", lambda *_: ["v1", f"h-{'2' * 64}"])
    return steps


def test_each_service_is_the_same_moved_or_new(staged: Ground) -> None:
    write(staged, "prod", api=entry("api", "1"))
    steps = promote.plan(staged, STAGING, PROD).steps
    assert [(step.service, step.note, step.after.ref) for step in steps] == [
        ("api", "moved", ref("api", "2")),
        ("web", "new", ref("web", "1")),
        (GATEWAY, "same", ref(GATEWAY, "9")),
    ]
    write(staged, "prod", api=entry("api", "1"), web=entry("web", "1"))
    assert [step.note for step in promote.plan(staged, STAGING, PROD).steps] == ["moved", "same", "same"]


def test_a_stack_is_not_promoted_to_itself(staged: Ground) -> None:
    with pytest.raises(ConfigError, match="itself"):
        promote.plan(staged, STAGING, STAGING)


def test_what_is_of_no_commit_is_not_promoted_to_a_protected_stack(ground: Ground) -> None:
    api = lock.Entry(ref("api", "2"), "2" * 64, None, {"sbom": f"sha256:{'2' * 64}"})
    write(ground, "staging", api=api, web=entry("web", "1"))
    assert promote.plan(ground, STAGING, replace(STAGING, name="test")).changes
    with pytest.raises(EvidenceError, match="api: no commit is named") as caught:
        promote.plan(ground, STAGING, PROD)
    assert caught.value.exit_code == 4


def test_a_lock_without_the_gateway_is_stale_for_a_protected_stack_and_goes_on_to_others(ground: Ground) -> None:
    write(ground, "staging", beside=False, api=entry("api", "2"), web=entry("web", "1"))
    assert promote.plan(ground, STAGING, replace(STAGING, name="test")).changes
    with pytest.raises(EvidenceError, match=r"staging\.lock\.json is stale") as caught:
        promote.plan(ground, STAGING, PROD)
    assert caught.value.exit_code == 4 and "invoke ship --stack staging" in caught.value.remedy
    assert promote.plan(ground, STAGING, replace(PROD, target="kubernetes")).changes


def test_a_stack_that_lost_its_protection_gets_nothing(staged: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protection, "was_protected", lambda *_: True)
    with pytest.raises(ConfigError, match="was protected when it was last deployed"):
        promote.plan(staged, STAGING, replace(PROD, protected=False))


def test_a_service_that_is_not_locked_keeps_all_back(ground: Ground) -> None:
    write(ground, "staging", api=entry("api", "2"))
    with pytest.raises(EvidenceError, match="no digest for web") as caught:
        promote.plan(ground, STAGING, PROD)
    assert "invoke ship --stack staging" in caught.value.remedy


def test_an_image_that_went_through_no_gate_is_refused(ground: Ground) -> None:
    write(ground, "staging", api=entry("api", "2"), web=lock.Entry(ref("web", "1"), "1" * 64))
    with pytest.raises(EvidenceError, match="no evidence for web"):
        promote.plan(ground, STAGING, PROD)


def test_in_one_registry_nothing_is_copied_and_all_is_verified(staged: Ground, did: list[tuple[str, str]]) -> None:
    carry_out(staged, promote.plan(staged, STAGING, PROD))
    assert did == [("verified", ref("api", "2")), ("verified", ref("web", "1")), ("verified", ref(GATEWAY, "9"))]
    assert read(staged, "prod") == read(staged, "staging")


def carry_out(ground: Ground, promotion: Promotion) -> None:
    promote.carry_out(ground, promotion, Silence(), today=TODAY)


def test_between_registries_the_tags_come_after_the_proof_and_the_lock_last(
    staged: Ground, did: list[tuple[str, str]]
) -> None:
    carry_out(staged, promote.plan(staged, STAGING, ELSEWHERE))
    api, web = ref("api", "2", THERE), ref("web", "1", THERE)
    own = {GATEWAY: ref(GATEWAY, "9", THERE)}
    assert [step for step in did if step[1].endswith("9")] == [
        ("verified", ref(GATEWAY, "9")),
        ("copied", own[GATEWAY]),
        ("verified", own[GATEWAY]),
        ("tagged v1", own[GATEWAY]),
        (f"tagged h-{'2' * 64}", own[GATEWAY]),
        (f"tagged h-{'9' * 64}", own[GATEWAY]),
    ]
    assert lock.load(staged.workspace.root, "prod").beside == {GATEWAY: entry(GATEWAY, "9", THERE)}
    assert [step for step in did if not step[1].endswith("9")] == [
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
    staged: Ground, did: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    write(staged, "prod", api=entry("api", "1"))
    before = read(staged, "prod")

    def fail(*_words: Any, **_more: Any) -> None:
        raise EvidenceError("it is not what it says")

    place, name = {
        "verified": (promote.evidence, "verify"),
        "copied": (promote.registry, "copy"),
        "tagged": (promote, "tags_of"),
    }[broken]
    monkeypatch.setattr(place, name, fail)
    with pytest.raises(EvidenceError):
        carry_out(staged, promote.plan(staged, STAGING, ELSEWHERE))
    assert read(staged, "prod") == before


def test_a_dry_promotion_verifies_where_the_images_are_and_changes_nothing(
    staged: Ground, did: list[tuple[str, str]]
) -> None:
    promotion = promote.plan(staged, STAGING, ELSEWHERE)
    promote.verify(staged, promotion, Silence(), today=TODAY)
    assert did == [("verified", ref("api", "2")), ("verified", ref("web", "1")), ("verified", ref(GATEWAY, "9"))]
    assert read(staged, "prod") == {}
    assert "would be locked" in promotion.told(dry=True)


def test_what_is_promoted_already_is_said(staged: Ground, did: list[tuple[str, str]]) -> None:
    carry_out(staged, promote.plan(staged, STAGING, PROD))
    again = promote.plan(staged, STAGING, PROD)
    assert not again.changes
    assert "already" in again.told(dry=False)


def test_the_target_keeps_what_it_has_of_services_that_are_gone(staged: Ground, did: list[tuple[str, str]]) -> None:
    write(staged, "prod", old=entry("old", "5"))
    carry_out(staged, promote.plan(staged, STAGING, PROD))
    assert read(staged, "prod")["old"] == entry("old", "5")
