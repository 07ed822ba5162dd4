"""Promotion and the way back with real evidence: bytes go on as they are, and only what proves itself is locked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from tests.gate.registries import serve
from tests.gate.test_evidence import CONTENT, MANIFEST, TODAY, VULNERABLE, World, world  # noqa: F401 - the world is a fixture

from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate.evidence import EvidenceRequirement
from slipway._internal.model import lock
from slipway._internal.model.errors import EvidenceError, GateRefused
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, ServiceSettings
from slipway._internal.release import promotions, rollback
from slipway._internal.release.releases import DeployedRelease
from slipway._internal.release.rollback import Rollback, RollbackStep
from slipway._internal.release.tags import find_tags
from slipway._internal.run import registry
from slipway._internal.toolchain.install import link_tools

pytestmark = pytest.mark.engine

STAGING = Stack("staging", Path("Pulumi.staging.yaml"), "external", "docker", protected=False)
# On a cluster nothing runs beside the services, so the lock is of services alone.
PROD = replace(STAGING, name="prod", target="kubernetes", protected=True)


@pytest.fixture
def run_context(world: World) -> Iterator[RunContext]:  # noqa: F811
    """The workspace with the service `api`; its locks are gone after each test."""
    link_tools(world.run_context.bin, ("crane",))
    api = Service("api", world.root / "services" / "api", ServiceSettings(kind="python-api"))
    yield replace(world.run_context, workspace=replace(world.run_context.workspace, services=(api,)))
    for each in (world.root / "deploy").glob("*.json"):
        each.unlink()


def shipped(world: World, **instead: object) -> lock.LockEntry:  # noqa: F811
    """Put an image with all its evidence and its tags into the release repository, and lock staging to it."""
    ref = world.image()
    world.attach(ref, **instead)
    part = registry.parse_reference(ref)
    client = registry.open_registry(part.host, "push", world.run_context.workspace)
    for tag in (f"h-{part.reference[7:]}", f"v{world.number}"):
        client.add_tag(part.repository, part.reference, tag)
    proof = {} if instead else dict(world.verify(EvidenceRequirement("api", ref, CONTENT))["api"].evidence)
    entry = lock.LockEntry(ref, CONTENT, "f" * 40, proof)
    lock.save(world.root, lock.Lock("staging", services={"api": entry}))
    return entry


def prod(world: World) -> dict[str, lock.LockEntry]:  # noqa: F811
    return lock.load(world.root, "prod").services


def test_the_same_registry_keeps_the_reference(world: World, run_context: RunContext) -> None:  # noqa: F811
    entry = shipped(world)
    promotions.execute_promotion(
        run_context, promotions.plan_promotion(run_context, STAGING, PROD), NullReporter(), today=TODAY
    )
    assert prod(world) == {"api": entry}


def test_another_registry_gets_the_image_its_evidence_and_its_tags(
    world: World,  # noqa: F811
    run_context: RunContext,
    tmp_path: Path,
) -> None:
    """Promotion between two registries: the same bytes, their evidence and tags, and a second run that adds nothing."""
    entry = shipped(world)
    with serve(tmp_path / "there") as there:
        elsewhere = replace(PROD, registry=f"{there.host}/inner")
        promotion = promotions.plan_promotion(run_context, STAGING, elsewhere)
        promotions.verify_promotion(run_context, promotion, NullReporter(), today=TODAY)
        assert (
            registry.open_registry(there.host, "pull", run_context.workspace).list_tags("inner/shop/release/api") == ()
        )
        for _ in range(2):  # the second time, all is there
            promotions.execute_promotion(run_context, promotion, NullReporter(), today=TODAY)
        ref = f"{there.host}/inner/shop/release/api@{entry.ref.partition('@')[2]}"
        assert prod(world) == {"api": lock.LockEntry(ref, entry.content, entry.commit, entry.evidence)}
        proof = world.verify(EvidenceRequirement("api", ref, entry.content, entry.commit, entry.evidence))["api"]
        assert proof.evidence == entry.evidence
        assert set(find_tags(ref, run_context.workspace)) == {
            *find_tags(entry.ref, run_context.workspace),
            f"h-{CONTENT}",
        }


def test_evidence_that_was_taken_away_keeps_all_back(world: World, run_context: RunContext, tmp_path: Path) -> None:  # noqa: F811
    entry = shipped(world)
    world.list_only(entry.ref, world.listed(entry.ref)[1:])
    with serve(tmp_path / "there") as there:
        promotion = promotions.plan_promotion(run_context, STAGING, replace(PROD, registry=there.host))
        with pytest.raises(EvidenceError, match="does not hold"):
            promotions.execute_promotion(run_context, promotion, NullReporter(), today=TODAY)
        assert registry.open_registry(there.host, "pull", run_context.workspace).list_tags("shop/release/api") == ()
    assert prod(world) == {}


def test_an_image_that_was_exchanged_in_the_lock_is_not_promoted(world: World, run_context: RunContext) -> None:  # noqa: F811
    entry = shipped(world)
    lock.save(
        world.root,
        lock.Lock("staging", services={"api": lock.LockEntry(world.image(), CONTENT, entry.commit, entry.evidence)}),
    )
    with pytest.raises(EvidenceError, match="does not hold"):
        promotions.execute_promotion(
            run_context, promotions.plan_promotion(run_context, STAGING, PROD), NullReporter(), today=TODAY
        )
    assert prod(world) == {}


def way(ref: str) -> Rollback:
    release = DeployedRelease("r-1", "2026-03-01T12:00:00Z", "ann", "", False, "external", "good", {"api": ref})
    return Rollback(PROD, release, (RollbackStep("api", "", ref, "goes back"),), ())


def test_a_protected_stack_goes_back_to_what_proves_itself(world: World, run_context: RunContext) -> None:  # noqa: F811
    entry = shipped(world)
    with pytest.raises(EvidenceError, match="a tag was moved by hand"):
        rollback.resolve_entries(run_context, way(entry.ref), NullReporter(), today=TODAY)
    tag(entry.ref, f"h-{CONTENT}")
    assert rollback.resolve_entries(run_context, way(entry.ref), NullReporter(), today=TODAY) == {"api": entry}


def tag(ref: str, name: str) -> None:
    """Give an image a tag, as the gate does at its end; also one that another test's image has."""
    part = registry.parse_reference(ref)
    manifests = f"http://{part.host}/v2/{part.repository}/manifests"
    found = requests.get(f"{manifests}/{part.reference}", headers={"Accept": MANIFEST}, timeout=10)
    kind = {"Content-Type": found.headers["Content-Type"]}
    requests.put(f"{manifests}/{name}", data=found.content, headers=kind, timeout=10).raise_for_status()


def test_a_protected_stack_does_not_go_back_to_what_is_unsigned(world: World, run_context: RunContext) -> None:  # noqa: F811
    with pytest.raises(EvidenceError, match="does not hold"):
        rollback.resolve_entries(run_context, way(world.image()), NullReporter(), today=TODAY)


def test_an_exception_that_has_ended_since_keeps_a_protected_stack_from_going_back(
    world: World,  # noqa: F811
    run_context: RunContext,
) -> None:
    entry = shipped(world, scan=VULNERABLE)
    tag(entry.ref, f"h-{CONTENT}")
    assert rollback.resolve_entries(run_context, way(entry.ref), NullReporter(), today=TODAY)
    with pytest.raises(GateRefused):
        rollback.resolve_entries(run_context, way(entry.ref), NullReporter(), today=TODAY.replace(year=2027))


def test_an_unprotected_stack_keeps_the_evidence_of_what_it_goes_back_to(
    world: World,  # noqa: F811
    run_context: RunContext,
) -> None:
    entry = shipped(world)
    (world.root / "deploy" / "staging.lock.json").unlink()
    back = replace(way(entry.ref), stack=STAGING)
    assert rollback.resolve_entries(run_context, back, NullReporter(), today=TODAY) == {"api": entry}
    unsigned = world.image()
    tag(unsigned, f"h-{'9' * 64}")
    back = replace(way(unsigned), stack=STAGING)
    assert rollback.resolve_entries(run_context, back, NullReporter(), today=TODAY) == {
        "api": lock.LockEntry(unsigned, "9" * 64)
    }
