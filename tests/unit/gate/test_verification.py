"""A protected stack takes what its lock says of services and gateway alike, line by line."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.commands.cosign import EVIDENCE_KINDS
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import prebuilt_images, verification
from slipway._internal.gate.evidence import EvidenceRequirement
from slipway._internal.model import lock
from slipway._internal.model.errors import EvidenceError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, ServiceSettings, Workspace, WorkspaceSettings

HERE = "127.0.0.1:5000"
PROD = Stack("prod", Path("Pulumi.prod.yaml"), "external", "docker", protected=True)


def entry(name: str, letter: str = "a", **instead: Any) -> lock.LockEntry:
    said: dict[str, Any] = {
        "ref": f"{HERE}/shop/release/{name}@sha256:{letter * 64}",
        "content": letter * 64,
        "commit": "f" * 40,
        "evidence": {"sbom": f"sha256:{letter * 64}"},
    }
    return lock.LockEntry(**{**said, **instead})


@pytest.fixture
def run_context(tmp_path: Path) -> RunContext:
    service = Service("api", tmp_path / "services" / "api", ServiceSettings(kind="worker"))
    return RunContext(Workspace(tmp_path, WorkspaceSettings("shop", HERE), (service,)), tmp_path / "bin", {})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[EvidenceRequirement]:
    """What the evidence was asked for."""
    found: list[EvidenceRequirement] = []

    def prove(
        _context: RunContext, requirements: list[EvidenceRequirement], _trust: object, *, today: date
    ) -> dict[str, None]:
        found.extend(requirements)
        return {each.service: None for each in requirements}

    monkeypatch.setattr(verification.evidence, "verify_evidence", prove)
    monkeypatch.setattr(verification, "refuse_mismatched_tags", lambda *_: None)
    return found


def locked(api: lock.LockEntry | None = None, gateway: lock.LockEntry | None = None) -> lock.Lock:
    own = {lock.GATEWAY: gateway or entry(lock.GATEWAY, "9")}
    return lock.Lock("prod", services={"api": api or entry("api")}, beside=own)


def check(run_context: RunContext, lines: lock.Lock, stack: Stack = PROD, done: tuple[str, ...] = ()) -> None:
    verification.verify_stack(run_context, stack, run_context.workspace.services, lines, already_verified=done)


def test_the_gateway_is_verified_with_the_services_by_the_evidence_that_it_can_have(
    run_context: RunContext, asked: list[EvidenceRequirement]
) -> None:
    check(run_context, locked())
    assert [(each.service, each.kinds) for each in asked] == [
        ("api", EVIDENCE_KINDS),
        ("gateway", prebuilt_images.PREBUILT_EVIDENCE_KINDS),
    ]
    assert not {"tests", "provenance"} & set(prebuilt_images.PREBUILT_EVIDENCE_KINDS)


def test_what_was_proven_just_now_is_not_proven_again(
    run_context: RunContext, asked: list[EvidenceRequirement]
) -> None:
    check(run_context, locked(), done=("api",))
    assert [each.service for each in asked] == ["gateway"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (locked(api=entry("api", commit=None)), "api: names no commit"),
        (locked(gateway=entry(lock.GATEWAY, commit=None)), "gateway: names no commit"),
        (locked(api=entry("api", evidence={})), "api never went through the gate"),
        (locked(gateway=entry(lock.GATEWAY, evidence={})), "gateway never went through the gate"),
        (locked(gateway=entry("api")), "outside this stack's repositories"),
        (
            locked(gateway=entry(lock.GATEWAY, ref=f"{HERE}/shop/base-envoy@sha256:{'9' * 64}")),
            "outside this stack's repositories",
        ),
        (locked(api=entry("api", ref=f"evil.example/shop/release/api@sha256:{'a' * 64}")), "outside this stack's"),
        (lock.Lock("prod", services={"api": entry("api")}), "has no verified image for the gateway"),
        (lock.Lock("prod"), "has no digest for api"),
    ],
)
def test_a_line_that_lacks_something_is_refused_before_anything_is_asked(
    run_context: RunContext, asked: list[EvidenceRequirement], lines: lock.Lock, said: str
) -> None:
    with pytest.raises(EvidenceError, match=said) as caught:
        check(run_context, lines)
    assert caught.value.exit_code == 4
    assert not asked


def test_a_stack_with_a_registry_of_its_own_takes_images_from_there_alone(
    run_context: RunContext, asked: list[EvidenceRequirement]
) -> None:
    with pytest.raises(EvidenceError, match="outside this stack's repositories"):
        check(run_context, locked(), replace(PROD, registry="prod.example"))
