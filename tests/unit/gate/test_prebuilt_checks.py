"""What is built elsewhere passes the gate by its digest: other bytes than were asked for never get further."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.build.build import BuildPlan
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import prebuilt_checks, prebuilt_images
from slipway._internal.model import bases_lock, lock
from slipway._internal.model.errors import EvidenceError, GateRefused, SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway._internal.run.process import ProcessResult

TODAY = date(2026, 11, 23)
DIGEST = f"sha256:{'b' * 64}"
BASE = f"127.0.0.1:5000/shop/base-envoy@{DIGEST}"
STAGING = Stack("staging", Path("Pulumi.staging.yaml"), "external", "docker", protected=False)


@pytest.fixture
def run_context(tmp_path: Path) -> RunContext:
    bases_lock.save(tmp_path, bases_lock.BasesLock("hardened", {"envoy": BASE}))
    return RunContext(Workspace(tmp_path, WorkspaceSettings("shop", "127.0.0.1:5000"), ()), tmp_path / "bin", {})


class World:
    """A registry that sends what it wants to; what was done with that."""

    def __init__(self) -> None:
        self.sent = DIGEST
        self.code = 0
        self.steps: list[str] = []


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    def run(command: list[str], **_: Any) -> ProcessResult:
        world.steps.append("fetched")
        layout = Path(command[-1] if command[-1] != "--insecure" else command[-2])
        layout.mkdir(parents=True)
        (layout / "index.json").write_text(world.sent)
        return ProcessResult(world.code, "crane says no")

    monkeypatch.setattr(prebuilt_checks, "run", run)
    monkeypatch.setattr(prebuilt_checks.crane, "pull", lambda _crane, ref, layout, **_: [ref, str(layout)])
    monkeypatch.setattr(prebuilt_checks.registry, "verify_layout", lambda layout: (layout / "index.json").read_text())
    monkeypatch.setattr(prebuilt_checks.checks, "was_scanned_with", lambda *_: False)
    monkeypatch.setattr(prebuilt_checks.scan, "scan_image", lambda *_: world.steps.append("scanned"))
    monkeypatch.setattr(prebuilt_checks, "enforce_policy", lambda *_: world.steps.append("judged"))
    monkeypatch.setattr(prebuilt_checks.checks, "list_packages", lambda *_: world.steps.append("described"))
    return world


def planned(run_context: RunContext) -> BuildPlan:
    [found] = prebuilt_checks.plan_prebuilt(run_context.workspace, (), STAGING)
    return found


def prove(run_context: RunContext) -> Any:
    return prebuilt_checks.run_checks(run_context, planned(run_context), NullReporter(), None, TODAY)  # type: ignore[arg-type]


def test_it_is_fetched_by_digest_then_scanned_judged_and_described(run_context: RunContext, world: World) -> None:
    found = prove(run_context)
    assert world.steps == ["fetched", "scanned", "judged", "described"]
    assert (found.name, found.digest, set(found.files)) == (lock.GATEWAY, DIGEST, {"sbom", "spdx", "scan"})
    prove(run_context)
    assert world.steps.count("fetched") == 1, "what is here is not fetched again"


def test_its_content_is_its_digest(run_context: RunContext) -> None:
    assert planned(run_context).content == DIGEST.removeprefix("sha256:")


@pytest.mark.parametrize("sent", [f"sha256:{'e' * 64}", ""])
def test_other_bytes_than_were_asked_for_are_not_scanned(run_context: RunContext, world: World, sent: str) -> None:
    world.sent = sent
    with pytest.raises(GateRefused, match="other bytes were received"):
        prove(run_context)
    assert world.steps == ["fetched"] and not planned(run_context).is_built


def test_bytes_that_were_exchanged_here_are_not_scanned(run_context: RunContext, world: World) -> None:
    prove(run_context)
    (planned(run_context).layout / "index.json").write_text(f"sha256:{'e' * 64}")
    with pytest.raises(GateRefused, match="does not hold"):
        prove(run_context)


def test_what_cannot_be_fetched_is_said(run_context: RunContext, world: World) -> None:
    world.code = 1
    with pytest.raises(SlipwayError, match="could not be fetched") as caught:
        prove(run_context)
    assert "crane says no" in caught.value.detail


def test_a_base_that_is_not_resolved_is_named(run_context: RunContext) -> None:
    bases_lock.save(run_context.workspace.root, bases_lock.BasesLock("hardened", {}))
    with pytest.raises(EvidenceError, match="does not name envoy"):
        prebuilt_images.base_refs(run_context.workspace, STAGING)
