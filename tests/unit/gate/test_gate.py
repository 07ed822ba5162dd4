"""The gate's order: all is proven before anything is pushed, verified before it is named, and the lock comes last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.build.build import BuildPlan, ShippedImage
from slipway._internal.content.digest import BuildInputs
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import gate, prebuilt_images
from slipway._internal.gate.checks import GateResult
from slipway._internal.gate.evidence import EvidenceRequirement, VerifiedImage
from slipway._internal.gate.gate import Candidate, ImageTags
from slipway._internal.gate.signing_keys import Signer
from slipway._internal.model import lock
from slipway._internal.model.errors import ConfigError, EvidenceError, GateRefused, SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.model.trust import PublicKey, TrustedSigners
from slipway._internal.model.workspace import Service, ServiceSettings, Workspace, WorkspaceSettings

HERE = "127.0.0.1:5000"
STAGING = Stack("staging", Path("Pulumi.staging.yaml"), "external", "docker", protected=False)
COMMIT = "f" * 40
EVIDENCE = {"sbom": f"sha256:{'5' * 64}", "signature": f"sha256:{'6' * 64}"}
TODAY = date(2026, 11, 23)
TRUST = TrustedSigners((PublicKey(Path("k.pub"), "pem", "ab" * 32),))


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def repository(service: str) -> str:
    return f"{HERE}/shop/release/{service}"


def candidate(service: str, letter: str, released: str | None = None) -> Candidate:
    """Return a service whose content and image both have this letter."""
    settings = Service(service, Path("services") / service, ServiceSettings(kind="worker"))
    inputs = BuildInputs(settings.dockerfile, settings.folder)
    planned = BuildPlan(settings, inputs, letter * 64, f"{HERE}/shop/{service}:h-{letter * 64}", Path("oci"), None, {})
    return Candidate(planned, repository(service), released)


def proof(service: str, letter: str) -> VerifiedImage:
    ref = f"{repository(service)}@{digest(letter)}"
    return VerifiedImage(ref, service, letter * 64, COMMIT, EVIDENCE, {}, "policy/keys/k.pub")


def entry(service: str, letter: str) -> lock.LockEntry:
    return lock.LockEntry(f"{repository(service)}@{digest(letter)}", letter * 64, COMMIT, EVIDENCE)


@pytest.fixture
def run_context(tmp_path: Path) -> RunContext:
    services = tuple(Service(name, tmp_path, ServiceSettings(kind="worker")) for name in ("api", "web"))
    return RunContext(Workspace(tmp_path, WorkspaceSettings("shop", HERE), services), tmp_path / "bin", {})


class World:
    """What the steps of the gate did, in order; any of them can be made to fail."""

    def __init__(self) -> None:
        self.candidates = [candidate("api", "a"), candidate("web", "b")]
        self.beside: list[Candidate] = []
        self.shipped: dict[str, VerifiedImage] = {}
        self.tags: dict[str, str] = {}
        self.steps: list[str] = []
        self.failing = ""
        self.locked: list[dict[str, lock.LockEntry]] = []
        self.failing_evidence: dict[str, frozenset[str]] = {}

    def did(self, step: str) -> None:
        self.steps.append(step)
        if step == self.failing:
            raise SlipwayError(f"{step} failed")

    def before(self, one: str, other: str) -> bool:
        """Whether every step of one sort came before every step of another."""
        places = {kind: [at for at, step in enumerate(self.steps) if step.startswith(kind)] for kind in (one, other)}
        return max(places[one]) < min(places[other])


@pytest.fixture
def world(run_context: RunContext, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    root = run_context.workspace.root

    def prove(_context: RunContext, plan: BuildPlan, *_more: Any) -> GateResult:
        world.did(f"prove {plan.service.name}")
        return GateResult(plan, f"sha256:{plan.content}", root)

    def push(_context: RunContext, candidate: Candidate, result: GateResult, reporter: Any) -> None:
        world.did(f"push {candidate.name}")

    def sign(
        _context: RunContext,
        candidate: Candidate,
        result: GateResult,
        signer: Signer,
        _commit: str | None,
        reporter: Any,
    ) -> None:
        assert signer.key == "cosign.key"
        world.did(f"sign {candidate.name}")

    def verify(
        _context: RunContext, requirements: Sequence[EvidenceRequirement], trust: TrustedSigners, *, today: date
    ) -> dict[str, VerifiedImage]:
        for each in requirements:
            world.did(f"verify {each.service}")
        return {each.service: proof(each.service, str(each.content)[0]) for each in requirements}

    class Registry:
        def __init__(self, host: str, config: object) -> None:
            assert host == HERE

        def add_tag(self, repository: str, digest: str, tag: str) -> None:
            world.did(f"tag {repository.rpartition('/')[2]} {tag[:3]}")
            assert world.tags.setdefault(f"{HERE}/{repository}:{tag}", digest) == digest

    def save(_root: Path, after: lock.Lock) -> Path:
        world.did("lock")
        world.locked.append(dict(after.services))
        return kept(_root, after)

    kept = lock.save
    monkeypatch.setattr(gate, "plan_candidates", lambda *_: world.candidates)
    monkeypatch.setattr(gate, "plan_prebuilt_candidates", lambda *_: world.beside)
    monkeypatch.setattr(gate.prebuilt_checks, "run_checks", prove)
    monkeypatch.setattr(gate, "refuse_lost_protection", lambda *_: None)
    monkeypatch.setattr(gate, "already_shipped", lambda *_: dict(world.shipped))
    monkeypatch.setattr(gate, "_ensure_signer", lambda *_: (Signer("cosign.key"), TRUST))
    monkeypatch.setattr(gate.scan, "ensure_database", lambda *_: world.did("database"))
    monkeypatch.setattr(gate.scan, "scan_dockerfiles", lambda *_: {})
    monkeypatch.setattr(gate.checks, "run_checks", prove)
    monkeypatch.setattr(gate, "push_image", push)
    monkeypatch.setattr(gate, "sign_image", sign)
    monkeypatch.setattr(gate.evidence, "verify_evidence", verify)
    monkeypatch.setattr(
        gate.evidence,
        "find_failing_kinds",
        lambda _context, _ref, name, *_, **__: world.failing_evidence.get(name, frozenset()),
    )
    monkeypatch.setattr(
        gate.registry, "resolve_digests", lambda refs, _workspace: {ref: world.tags.get(ref) for ref in refs}
    )
    monkeypatch.setattr(gate, "Registry", Registry)
    monkeypatch.setattr(gate.lock, "save", save)
    monkeypatch.setattr(gate.git, "head_commit", lambda _root: COMMIT)
    monkeypatch.setattr(gate.git, "is_dirty", lambda _root, _apart=(): False)
    return world


def ship(run_context: RunContext, **options: Any) -> list[ShippedImage]:
    return gate.ship_services(run_context, run_context.workspace.services, STAGING, NullReporter(), **options)


def locked(run_context: RunContext) -> dict[str, lock.LockEntry]:
    return lock.load(run_context.workspace.root, "staging").services


def test_all_is_proven_then_pushed_then_verified_then_named_and_locked_last(
    run_context: RunContext, world: World
) -> None:
    lines = ship(run_context, version="1.4.0")
    assert world.steps[0] == "database"
    for one, other in (("prove", "push"), ("push", "verify"), ("sign", "verify"), ("verify", "tag"), ("tag", "lock")):
        assert world.before(one, other), (one, other)
    assert world.steps.index("push api") < world.steps.index("sign api")
    assert sorted(step for step in world.steps if step.startswith("tag")) == [
        "tag api 1.4",
        "tag api fff",
        "tag api h-a",
        "tag web 1.4",
        "tag web fff",
        "tag web h-b",
    ]
    assert world.steps[-1] == "lock"
    assert locked(run_context) == {"api": entry("api", "a"), "web": entry("web", "b")}
    assert [(line.service, line.note) for line in lines] == [("api", "passed, locked"), ("web", "passed, locked")]


@pytest.mark.parametrize(
    "failing", ["database", "prove api", "push web", "sign web", "verify web", "tag web h-b", "tag api 1.4", "lock"]
)
def test_whatever_fails_the_lock_is_as_it_was(run_context: RunContext, world: World, failing: str) -> None:
    lock.save(run_context.workspace.root, lock.Lock("staging", services={"api": entry("api", "0")}))
    before = lock.path_of(run_context.workspace.root, "staging").read_bytes()
    world.steps.clear()
    world.failing = failing
    with pytest.raises(SlipwayError, match=failing):
        ship(run_context, version="1.4.0")
    assert lock.path_of(run_context.workspace.root, "staging").read_bytes() == before
    done = {step.partition(" ")[0] for step in world.steps}
    stages = ["database", "prove", "push", "sign", "verify", "tag", "lock"]
    allowed = stages[: stages.index(failing.partition(" ")[0]) + 1]
    assert done <= {*allowed, *(["sign"] if "push" in allowed else [])}


def test_one_that_does_not_pass_keeps_those_that_do_from_being_pushed(run_context: RunContext, world: World) -> None:
    world.failing = "prove web"
    with pytest.raises(SlipwayError):
        ship(run_context)
    assert sorted(world.steps) == ["database", "prove api", "prove web"], "the other is carried to its end"


def test_what_has_passed_before_is_not_proven_again(run_context: RunContext, world: World) -> None:
    world.shipped = {"api": proof("api", "a")}
    lines = ship(run_context)
    assert not [step for step in world.steps if " api" in step]
    assert locked(run_context) == {"api": entry("api", "a"), "web": entry("web", "b")}
    assert [line.note for line in lines] == ["passed before, locked", "passed, locked"]


def test_when_all_has_passed_nothing_is_asked_for_and_the_lock_is_not_touched(
    run_context: RunContext, world: World
) -> None:
    world.shipped = {"api": proof("api", "a"), "web": proof("web", "b")}
    assert [line.note for line in ship(run_context)] == ["passed before, locked"] * 2
    assert world.steps == ["lock"]
    world.steps.clear()
    assert [line.note for line in ship(run_context)] == ["locked already"] * 2
    assert world.steps == []


def test_a_version_names_what_has_passed_before_and_a_commit_does_not(run_context: RunContext, world: World) -> None:
    world.shipped = {"api": proof("api", "a"), "web": proof("web", "b")}
    ship(run_context, version="1.4.0")
    assert sorted(world.steps) == ["lock", "tag api 1.4", "tag web 1.4"]


@pytest.mark.parametrize("mine", ["api", "web"])
def test_a_version_that_is_another_images_is_refused_before_anything_is_pushed(
    run_context: RunContext, world: World, mine: str
) -> None:
    world.shipped = {"web": proof("web", "b")}
    world.tags[f"{repository(mine)}:1.4.0"] = digest("9")
    with pytest.raises(GateRefused, match="tags never move") as caught:
        ship(run_context, version="1.4.0")
    assert f"{repository(mine)}:1.4.0 is {digest('9')}" in caught.value.detail
    assert not [step for step in world.steps if step.partition(" ")[0] in ("push", "sign", "tag", "lock")]


def test_a_content_that_was_built_to_other_bytes_before_is_refused(run_context: RunContext, world: World) -> None:
    world.tags[f"{repository('api')}:h-{'a' * 64}"] = digest("9")
    with pytest.raises(GateRefused, match="tags never move"):
        ship(run_context)
    assert not [step for step in world.steps if step.startswith("push")]


def test_a_dry_run_does_nothing(run_context: RunContext, world: World) -> None:
    world.shipped = {"api": proof("api", "a")}
    assert [(line.ref, line.note) for line in ship(run_context, dry=True)] == [
        (f"{repository('api')}@{digest('a')}", "has passed the gate before"),
        ("-", "would go through the gate"),
    ]
    assert world.steps == [] and locked(run_context) == {}


def test_services_that_were_not_chosen_keep_their_line_in_the_lock(run_context: RunContext, world: World) -> None:
    lock.save(run_context.workspace.root, lock.Lock("staging", services={"worker": entry("worker", "7")}))
    ship(run_context)
    assert set(locked(run_context)) == {"api", "web", "worker"}
    assert locked(run_context)["worker"] == entry("worker", "7")


@pytest.mark.parametrize(
    ("dirty", "ignored", "said"),
    [
        (False, set(), COMMIT),
        (True, set(), None),
        (False, {"services/api/app/local.py"}, None),
        (False, {"libs/common/local.py"}, None),
        (False, {"services/web/app/local.py", "services/api/__pycache__/a.pyc"}, COMMIT),
    ],
)
def test_an_image_bears_the_commit_only_where_nothing_in_it_differs_from_it(
    run_context: RunContext, monkeypatch: pytest.MonkeyPatch, dirty: bool, ignored: set[str], said: str | None
) -> None:
    monkeypatch.setattr(gate.git, "head_commit", lambda _root: COMMIT)
    monkeypatch.setattr(gate.git, "is_dirty", lambda _root, _apart=(): dirty)
    monkeypatch.setattr(gate.git, "list_ignored", lambda _root, _folders: ignored)
    api = candidate("api", "a")
    service = replace(api.plan.service, settings=ServiceSettings(kind="worker", libs=("common",)))
    manifest = {"file app/local.py": "1", "context common": "2", "context common: local.py": "3"}
    api = replace(api, plan=replace(api.plan, service=service, manifest=manifest))
    assert gate.commit_of_images(run_context.workspace, [api]) == said


def test_nothing_is_signed_whose_commit_cannot_be_known(run_context: RunContext) -> None:
    (run_context.workspace.root / ".git").mkdir(parents=True)
    with pytest.raises(EvidenceError, match="cannot be determined"):
        gate.commit_of_images(run_context.workspace, [candidate("api", "a")])


def test_what_runs_beside_the_services_passes_the_gate_too_and_has_a_table_of_its_own_in_the_lock(
    run_context: RunContext, world: World
) -> None:
    world.beside = [replace(candidate("gateway", "9"), kinds=prebuilt_images.PREBUILT_EVIDENCE_KINDS)]
    ship(run_context)
    assert {"prove gateway", "push gateway", "sign gateway", "verify gateway"} < set(world.steps)
    found = lock.load(run_context.workspace.root, "staging")
    assert (set(found.services), set(found.beside)) == ({"api", "web"}, {"gateway"})


def test_what_was_signed_without_a_commit_goes_through_again_once_there_is_one(
    run_context: RunContext, world: World
) -> None:
    world.shipped = {"api": replace(proof("api", "a"), commit=None), "web": proof("web", "b")}
    lines = ship(run_context)
    assert [line.note for line in lines] == ["passed, locked", "passed before, locked"]
    assert locked(run_context)["api"].commit == COMMIT


def test_steps_that_newer_evidence_says_no_to_are_done_again_before_anything_is_signed(
    run_context: RunContext, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.failing_evidence = {"api": frozenset({"tests", "scan"})}
    monkeypatch.setattr(
        gate.checks, "rerun_tests", lambda _context, plan, _report: world.did(f"test {plan.service.name}")
    )
    monkeypatch.setattr(gate.checks, "rescan", lambda _context, plan, *_: world.did(f"scan {plan.service.name}"))
    ship(run_context)
    assert world.steps.index("push api") < world.steps.index("test api") < world.steps.index("scan api")
    assert world.steps.index("scan api") < world.steps.index("sign api")
    assert "test web" not in world.steps


def test_an_image_has_a_tag_for_its_content_its_commit_and_its_version() -> None:
    api = candidate("api", "a")
    assert ImageTags(COMMIT, "1.4.0").for_candidate(api) == [f"h-{'a' * 64}", COMMIT, "1.4.0"]
    assert ImageTags(None, None).for_candidate(api) == [f"h-{'a' * 64}"]


@pytest.mark.parametrize("version", ["h-1", "sha256-1", "", "a b", "-1", "a/b", "a:b", "x" * 129])
def test_what_is_no_tag_or_slipways_own_is_no_version(version: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a version"):
        gate.refuse_invalid_version(version)


def test_what_was_released_is_believed_only_with_the_line_that_fits_it(
    run_context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[EvidenceRequirement] = []
    monkeypatch.setattr(
        gate.evidence,
        "cached_verifications",
        lambda _context, requirements, *_, **__: asked.extend(requirements) or frozenset(),
    )
    monkeypatch.setattr(gate.evidence, "find_verified", lambda *_, **__: {})
    one = candidate("api", "a", released=digest("a"))

    def wanted(line: lock.LockEntry) -> EvidenceRequirement:
        asked.clear()
        gate.already_shipped(run_context, [one], lock.Lock("staging", services={"api": line}), TRUST, TODAY)
        return asked[0]

    ref = f"{repository('api')}@{digest('a')}"
    assert wanted(entry("api", "a")) == EvidenceRequirement("api", ref, "a" * 64, COMMIT, EVIDENCE)
    for other in (entry("api", "b"), lock.LockEntry(ref, "a" * 64), lock.LockEntry(ref, "b" * 64, COMMIT, EVIDENCE)):
        assert wanted(other) == EvidenceRequirement("api", ref, "a" * 64)


def test_what_is_not_proven_goes_through_the_gate_again(
    run_context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate.evidence, "cached_verifications", lambda *_, **__: frozenset())
    monkeypatch.setattr(gate.evidence, "find_verified", lambda *_, **__: {})
    one, new = candidate("api", "a", released=digest("a")), candidate("web", "b")
    assert gate.already_shipped(run_context, [one, new], lock.Lock("staging"), TRUST, TODAY) == {}
    monkeypatch.setattr(gate.evidence, "find_verified", lambda *_, **__: {"api": proof("api", "a")})
    assert gate.already_shipped(run_context, [one, new], lock.Lock("staging"), TRUST, TODAY) == {
        "api": proof("api", "a")
    }


def test_a_registry_that_does_not_answer_is_no_reason_to_build_again(
    run_context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise SlipwayError("the registry does not answer")

    monkeypatch.setattr(gate.evidence, "cached_verifications", lambda *_, **__: frozenset())
    monkeypatch.setattr(gate.evidence, "find_verified", fail)
    with pytest.raises(SlipwayError, match="does not answer"):
        gate.already_shipped(
            run_context, [candidate("api", "a", released=digest("a"))], lock.Lock("staging"), TRUST, TODAY
        )


def test_other_bytes_than_were_scanned_are_not_signed(run_context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    each = candidate("api", "a")
    monkeypatch.setattr(gate.registry, "push_by_digest", lambda *_: digest("9"))
    with pytest.raises(GateRefused, match="was pushed, but"):
        gate.push_image(
            run_context, each, GateResult(each.plan, digest("a"), run_context.workspace.root), NullReporter()
        )


def test_no_key_pair_is_made_where_nothing_can_be_signed(
    run_context: RunContext, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ensure_signer(*_words: object) -> tuple[Signer, TrustedSigners]:
        world.did("signer")
        return Signer("cosign.key"), TRUST

    def require_passed(_context: RunContext, plan: BuildPlan, _today: date) -> GateResult:
        if world.failing == "passed":
            raise GateRefused("has not passed")
        return GateResult(plan, f"sha256:{plan.content}", run_context.workspace.root)

    def sign() -> list[ShippedImage]:
        return gate.sign_pushed(run_context, run_context.workspace.services, STAGING, NullReporter())

    monkeypatch.setattr(gate, "_ensure_signer", ensure_signer)
    monkeypatch.setattr(gate.checks, "require_passed", require_passed)
    world.failing = "passed"
    with pytest.raises(GateRefused, match="has not passed"):
        sign()
    world.failing = ""
    with pytest.raises(EvidenceError, match="not in the registry"):
        sign()
    assert world.steps == []
    world.tags = {
        f"{repository(name)}@{digest(letter)}": digest(letter) for name, letter in (("api", "a"), ("web", "b"))
    }
    assert [image.service for image in sign()] == ["api", "web"]
    assert world.steps[0] == "signer" and sorted(world.steps[1:]) == ["sign api", "sign web"]
