"""What has passed the gate's steps is pushed as the very bytes that were scanned, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import checks, gate, prebuilt_checks
from slipway._internal.gate.gate import Candidate
from slipway._internal.model import lock
from slipway._internal.model.errors import GateRefused
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import load_workspace
from slipway._internal.run import registry
from tests import synthetic

DIGEST = f"sha256:{'a' * 64}"
STACK = Stack("staging", Path("x"), "external", "docker", protected=True, registry="r.example/team")
NAMES = ["service-000", "service-001"]


class Gate:
    """A workspace whose services are built, which of them have passed, and what was pushed where."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        workspace = load_workspace(synthetic.workspace(root, len(NAMES)))
        self.context = RunContext(workspace, root / "bin", {})
        self.pushed: list[tuple[Any, ...]] = []
        self.refused: set[str] = set()
        self.digest_pushed = DIGEST
        monkeypatch.setattr(gate, "plan_candidates", self.plan)
        monkeypatch.setattr(checks, "require_passed", self.require_passed)
        monkeypatch.setattr(registry, "push_by_digest", self.push)

    def plan(self, _context: Any, services: Any, stack: Stack) -> list[Candidate]:
        plans = [
            SimpleNamespace(service=service, content="c" * 64, layout=Path("oci", service.name)) for service in services
        ]
        return [Candidate(plan, f"{stack.registry}/{plan.service.name}", None) for plan in plans]  # type: ignore[arg-type]

    def require_passed(self, _context: Any, plan: Any, _today: Any) -> Any:
        if plan.service.name in self.refused:
            raise GateRefused(f"{plan.service.name} was not scanned")
        return SimpleNamespace(plan=plan, digest=DIGEST)

    def push(self, crane: Path, layout: Path, repository: str, *_: Any) -> str:
        self.pushed.append((crane.name, str(layout), repository))
        return self.digest_pushed

    def run(self, *, dry: bool = False) -> list[tuple[str, str, str]]:
        services = self.context.workspace.services
        images = gate.push_passed(self.context, services, STACK, NullReporter(), dry=dry)
        return [(image.service, image.ref, image.note) for image in images]


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(tmp_path, monkeypatch)


def test_what_has_passed_is_pushed_by_digest_and_signing_is_the_next_step(built: Gate) -> None:
    assert [(service, ref) for service, ref, _ in built.run()] == [
        (name, f"r.example/team/{name}@{DIGEST}") for name in NAMES
    ]
    assert sorted(built.pushed) == [("crane", f"oci/{name}", f"r.example/team/{name}") for name in NAMES]
    assert all("invoke sign --stack staging" in note for *_, note in built.run())


def test_a_dry_push_pushes_nothing(built: Gate) -> None:
    assert [note for *_, note in built.run(dry=True)] == ["would be pushed"] * 2
    assert built.pushed == []


def test_where_one_has_not_passed_nothing_is_pushed(built: Gate) -> None:
    built.refused = {"service-001"}
    with pytest.raises(GateRefused, match="service-001"):
        built.run()
    assert built.pushed == []


def test_other_bytes_than_those_that_were_scanned_are_refused(built: Gate) -> None:
    built.digest_pushed = f"sha256:{'b' * 64}"
    with pytest.raises(GateRefused) as caught:
        built.run()
    assert f"sha256:{'b' * 64} was pushed, but {DIGEST} was scanned" in caught.value.detail


def test_what_runs_beside_services_needs_the_evidence_that_fits_it(
    built: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = SimpleNamespace(service=SimpleNamespace(name=lock.GATEWAY), content="c" * 64)
    monkeypatch.setattr(prebuilt_checks, "plan_prebuilt", lambda *_: [plan])
    monkeypatch.setattr(registry, "resolve_digests", lambda tags, _workspace: dict.fromkeys(tags, DIGEST))
    (candidate,) = gate.plan_prebuilt_candidates(built.context, (), STACK)
    assert candidate.is_prebuilt and candidate.released_digest == DIGEST
    assert "tests" not in candidate.kinds and "scan" in candidate.kinds
    assert candidate.repository.startswith("r.example/team/")
