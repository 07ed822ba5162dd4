"""What is built elsewhere passes the gate by its digest: other bytes than were asked for never get further."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from slipway.flows import beside, proving_beside
from slipway.flows.build import Planned
from slipway.flows.report import Silence
from slipway.flows.standing import Ground
from slipway.model import bases, lock
from slipway.model.errors import EvidenceError, GateRefused, SlipwayError
from slipway.model.stack import Stack
from slipway.model.workspace import Settings, Workspace
from slipway.run.process import Result

TODAY = date(2026, 11, 23)
DIGEST = f"sha256:{'b' * 64}"
BASE = f"127.0.0.1:5000/shop/base-nginx@{DIGEST}"
STAGING = Stack("staging", Path("Pulumi.staging.yaml"), "external", "docker", protected=False)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    bases.save(tmp_path, bases.BasesLock("hardened", {"nginx": BASE}))
    return Ground(Workspace(tmp_path, Settings("shop", "127.0.0.1:5000"), ()), tmp_path / "bin", {})


class World:
    """A registry that sends what it wants to; what was done with that."""

    def __init__(self) -> None:
        self.sent = DIGEST
        self.code = 0
        self.steps: list[str] = []


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    def run(command: list[str], **_: Any) -> Result:
        world.steps.append("fetched")
        layout = Path(command[-1] if command[-1] != "--insecure" else command[-2])
        layout.mkdir(parents=True)
        (layout / "index.json").write_text(world.sent)
        return Result(world.code, "crane says no")

    monkeypatch.setattr(proving_beside, "run", run)
    monkeypatch.setattr(proving_beside.crane, "pull", lambda _crane, ref, layout, **_: [ref, str(layout)])
    monkeypatch.setattr(proving_beside.registry, "check", lambda layout: (layout / "index.json").read_text())
    monkeypatch.setattr(proving_beside.proving, "scanned_with", lambda *_: False)
    monkeypatch.setattr(proving_beside.scan, "scan", lambda *_: world.steps.append("scanned"))
    monkeypatch.setattr(proving_beside, "judge", lambda *_: world.steps.append("judged"))
    monkeypatch.setattr(proving_beside.proving, "describe", lambda *_: world.steps.append("described"))
    return world


def planned(ground: Ground) -> Planned:
    [found] = proving_beside.plan(ground.workspace, STAGING)
    return found


def prove(ground: Ground) -> Any:
    return proving_beside.prove(ground, planned(ground), Silence(), None, TODAY)  # type: ignore[arg-type]


def test_it_is_fetched_by_digest_then_scanned_judged_and_described(ground: Ground, world: World) -> None:
    found = prove(ground)
    assert world.steps == ["fetched", "scanned", "judged", "described"]
    assert (found.name, found.digest, set(found.files)) == (lock.GATEWAY, DIGEST, {"sbom", "spdx", "scan"})
    prove(ground)
    assert world.steps.count("fetched") == 1, "what is here is not fetched again"


def test_its_content_is_its_digest(ground: Ground) -> None:
    assert planned(ground).content == DIGEST.removeprefix("sha256:")


@pytest.mark.parametrize("sent", [f"sha256:{'e' * 64}", ""])
def test_other_bytes_than_were_asked_for_are_not_scanned(ground: Ground, world: World, sent: str) -> None:
    world.sent = sent
    with pytest.raises(GateRefused, match="other bytes came"):
        prove(ground)
    assert world.steps == ["fetched"] and not planned(ground).built


def test_bytes_that_were_exchanged_here_are_not_scanned(ground: Ground, world: World) -> None:
    prove(ground)
    (planned(ground).result / "index.json").write_text(f"sha256:{'e' * 64}")
    with pytest.raises(GateRefused, match="does not hold"):
        prove(ground)


def test_what_cannot_be_fetched_is_said(ground: Ground, world: World) -> None:
    world.code = 1
    with pytest.raises(SlipwayError, match="could not be fetched") as caught:
        prove(ground)
    assert "crane says no" in caught.value.detail


def test_a_base_that_is_not_resolved_is_named(ground: Ground) -> None:
    bases.save(ground.workspace.root, bases.BasesLock("hardened", {}))
    with pytest.raises(EvidenceError, match="does not name nginx"):
        beside.sources(ground.workspace, STAGING)
