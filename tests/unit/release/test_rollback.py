"""Which release a rollback chooses, what it does to each service, and what it writes before it deploys."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate.evidence import EvidenceRequirement, VerifiedImage
from slipway._internal.model import lock
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.model.errors import ConfigError, EvidenceError, SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway._internal.release import rollback
from slipway._internal.release.releases import DeployedRelease
from slipway._internal.release.rollback import Rollback, RollbackStep

TODAY = date(2026, 3, 1)
REGISTRY = "127.0.0.1:5000"
STACK = Stack("dev", Path("Pulumi.dev.yaml"), "inline", "docker", protected=False)
PROD = replace(STACK, name="prod", mode="external", protected=True)


def ref(service: str, letter: str) -> str:
    return f"{REGISTRY}/shop/{service}@sha256:{letter * 64}"


def release(name: str, result: str, letter: str, **digests: str) -> DeployedRelease:
    images = digests or {"api": ref("api", letter)}
    return DeployedRelease(name, "2026-03-01T12:00:00Z", "ann", "", False, "inline", result, images)


def choose(lines: list[DeployedRelease], name: str | None = None, **locked: str) -> str:
    return rollback.choose_release(lines, "dev", name, locked).id


def test_without_a_name_it_is_the_last_good_one() -> None:
    assert choose([release("r-3", "live", "3"), release("r-2", "good", "2"), release("r-1", "good", "1")]) == "r-2"


def test_a_release_with_the_images_that_run_now_is_nothing_to_go_back_to() -> None:
    assert choose([release("r-3", "live", "2"), release("r-2", "good", "2"), release("r-1", "good", "1")]) == "r-1"


def test_after_a_release_that_failed_it_is_the_one_that_was_live() -> None:
    assert choose([release("r-3", "failed", "3"), release("r-2", "live", "2"), release("r-1", "good", "1")]) == "r-2"


def test_a_failed_release_in_between_is_passed_over() -> None:
    assert choose([release("r-3", "live", "3"), release("r-2", "failed", "2"), release("r-1", "good", "1")]) == "r-1"


def test_a_rollback_that_did_not_end_goes_on() -> None:
    lines = [release("r-4", "failed", "1"), release("r-3", "live", "3"), release("r-1", "good", "1")]
    assert choose(lines, api=ref("api", "1")) == "r-1"
    assert choose(lines) == "r-3", "no lock was written, so nobody was going back"


def test_a_named_release_is_taken_also_the_one_that_runs() -> None:
    lines = [release("r-2", "live", "2"), release("r-1", "good", "1")]
    assert choose(lines, "r-1") == "r-1"
    assert choose(lines, "r-2") == "r-2"


def test_an_unknown_release_is_refused_with_the_ids_that_there_are() -> None:
    with pytest.raises(ConfigError, match="no release r-9") as caught:
        choose([release("r-2", "live", "2"), release("r-1", "good", "1")], "r-9")
    assert "r-2, r-1" in caught.value.remedy


def test_a_release_that_never_ran_is_nothing_to_go_back_to() -> None:
    with pytest.raises(ConfigError, match="never went live") as caught:
        choose([release("r-2", "failed", "2"), release("r-1", "live", "1")], "r-2")
    assert "r-1" in caught.value.remedy and "r-2" not in caught.value.remedy


@pytest.mark.parametrize(
    "lines",
    [[], [release("r-1", "failed", "1")], [release("r-1", "live", "1")]],
    ids=["never deployed", "nothing ever ran", "nothing ran before"],
)
def test_without_a_good_release_there_is_no_way_back(lines: list[DeployedRelease]) -> None:
    with pytest.raises(ConfigError, match="no good release"):
        choose(lines)


def planned_moves(services: list[str], to: DeployedRelease, live: DeployedRelease, **locked: str) -> list[RollbackStep]:
    entries = {name: lock.LockEntry(image, "c" * 64) for name, image in locked.items()}
    return list(rollback.plan_steps(services, to, live, lock.Lock("dev", services=entries)))


def test_each_service_goes_to_the_image_it_had() -> None:
    live = release("r-2", "live", "2", api=ref("api", "2"), web=ref("web", "1"))
    to = release("r-1", "good", "1", api=ref("api", "1"), web=ref("web", "1"))
    assert [(each.service, each.ref, each.note) for each in planned_moves(["api", "web"], to, live)] == [
        ("api", ref("api", "1"), "goes back"),
        ("web", ref("web", "1"), "stays"),
    ]


def test_a_service_that_is_newer_than_the_release_keeps_its_image() -> None:
    live = release("r-2", "live", "2", api=ref("api", "2"), web=ref("web", "1"))
    to = release("r-1", "good", "1", api=ref("api", "1"))
    [_, kept] = planned_moves(["api", "web"], to, live)
    assert (kept.ref, kept.note) == (ref("web", "1"), "stays: it is not in that release")
    [_, locked] = planned_moves(["api", "web"], to, live, web=ref("web", "5"))
    assert locked.ref == ref("web", "5")


def test_a_service_without_any_image_is_named() -> None:
    to = release("r-1", "good", "1")
    with pytest.raises(EvidenceError, match="web did not exist in r-1"):
        planned_moves(["api", "web"], to, release("r-2", "live", "2"))


@pytest.fixture
def run_context(tmp_path: Path) -> RunContext:
    (tmp_path / "infra").mkdir()
    return RunContext(Workspace(tmp_path, WorkspaceSettings("shop", REGISTRY), ()), tmp_path / "bin", {})


def make_rollback(stack: Stack, letter: str = "1", **contents: str) -> Rollback:
    to = replace(release("r-1", "good", letter), contents=contents)
    return Rollback(stack, to, (RollbackStep("api", ref("api", "2"), ref("api", letter), "goes back"),), ())


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Stack, DeployInputs]]:
    """What was deployed: the stack as it was given, and what infra/ goes by."""
    calls: list[tuple[Stack, DeployInputs]] = []

    def deploy(_context: RunContext, stack: Stack, _report: object, _consent: object, inputs: DeployInputs) -> None:
        calls.append((stack, inputs))

    def read_inputs(
        run_context: RunContext,
        stack: Stack,
        _report: object,
        *,
        stack_lock: lock.Lock,
        already_verified: tuple[str, ...],
    ) -> DeployInputs:
        assert set(already_verified) == {"api"}
        assert stack_lock == lock.load(run_context.workspace.root, stack.name)
        return DeployInputs(run_context.workspace, stack, stack_lock.services)

    monkeypatch.setattr(rollback.deploy, "deploy_stack", deploy)
    monkeypatch.setattr(rollback, "read_inputs", read_inputs)
    monkeypatch.setattr(rollback.deploy, "refuse_foreign_objects", lambda *_: None)
    monkeypatch.setattr(rollback, "find_tags", lambda *_: [])
    monkeypatch.setattr(
        rollback.registry, "resolve_digests", lambda refs, _workspace: {each: each[-71:] for each in refs}
    )
    return calls


def carry_out(run_context: RunContext, way: Rollback) -> dict[str, lock.LockEntry]:
    rollback.execute_rollback(run_context, way, NullReporter(), lambda _: True, today=TODAY)
    return lock.load(run_context.workspace.root, way.stack.name).services


def test_the_lock_is_written_and_all_images_come_from_it_for_this_run(
    run_context: RunContext, deployed: list[tuple[Stack, DeployInputs]]
) -> None:
    entries = carry_out(run_context, make_rollback(STACK, api="a" * 64))
    assert entries == {"api": lock.LockEntry(ref("api", "1"), "a" * 64)}
    [(stack, inputs)] = deployed
    assert (stack.mode, stack.overridden) == ("external", True)
    assert inputs.stack == stack and inputs.lock_entries == entries


def test_an_image_whose_content_nobody_recorded_is_found_by_its_tag(
    run_context: RunContext, deployed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        rollback,
        "find_tags",
        lambda image, _workspace: ["v1", "h-old", f"h-{'0' * 64}"] if image == ref("api", "1") else [],
    )
    assert carry_out(run_context, make_rollback(STACK))["api"].content == "0" * 64
    assert carry_out(run_context, make_rollback(STACK, "3"))["api"].content == ""


def test_what_a_lock_knows_of_an_image_is_kept(run_context: RunContext, deployed: list[Any]) -> None:
    (run_context.workspace.root / "infra" / "Pulumi.staging.yaml").write_text(
        "config:\n  slipway:images: inline\n  slipway:protected: false\n"
    )
    entry = lock.LockEntry(ref("api", "1"), "c" * 64, "d" * 40, {"sbom": "sha256:" + "e" * 64})
    lock.save(run_context.workspace.root, lock.Lock("staging", services={"api": entry}))
    assert carry_out(run_context, make_rollback(STACK)) == {"api": entry}


def test_an_image_that_is_gone_is_said_before_anything_changes(
    run_context: RunContext, deployed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollback.registry, "resolve_digests", lambda refs, _workspace: dict.fromkeys(refs))
    with pytest.raises(EvidenceError, match="no longer has"):
        carry_out(run_context, make_rollback(STACK))
    assert not (run_context.workspace.root / "deploy").exists() and not deployed


def test_the_lines_of_services_that_do_not_move_are_left_as_they_are(
    run_context: RunContext, deployed: list[Any]
) -> None:
    other = lock.LockEntry(ref("old", "5"), "f" * 64)
    lock.save(run_context.workspace.root, lock.Lock("dev", services={"old": other}))
    assert carry_out(run_context, make_rollback(STACK, api="a" * 64))["old"] == other


def test_on_a_protected_stack_the_lock_says_what_was_proven(
    run_context: RunContext, deployed: list[tuple[Stack, DeployInputs]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[EvidenceRequirement] = []

    def verify(
        _context: RunContext, requirements: list[EvidenceRequirement], *_trust: Any, today: date
    ) -> dict[str, VerifiedImage]:
        assert today == TODAY
        asked.extend(requirements)
        return {
            each.service: VerifiedImage(
                each.ref, each.service, "a" * 64, "d" * 40, {"sbom": "sha256:" + "e" * 64}, {}, "ann"
            )
            for each in requirements
        }

    monkeypatch.setattr(rollback.evidence, "verify_evidence", verify)
    with pytest.raises(EvidenceError, match="a tag was moved by hand"):
        carry_out(run_context, make_rollback(PROD))
    assert not deployed
    asked.clear()
    tags = {f"{ref('api', '1').partition('@')[0]}:h-{'a' * 64}": ref("api", "1")[-71:]}
    monkeypatch.setattr(
        rollback.registry, "resolve_digests", lambda refs, _workspace: {each: tags.get(each) for each in refs}
    )
    entries = carry_out(run_context, make_rollback(PROD))
    assert entries == {"api": lock.LockEntry(ref("api", "1"), "a" * 64, "d" * 40, {"sbom": "sha256:" + "e" * 64})}
    assert asked == [EvidenceRequirement("api", ref("api", "1"))]
    assert not deployed[0][0].overridden
    carry_out(run_context, make_rollback(PROD))
    assert asked[1] == EvidenceRequirement("api", ref("api", "1"), "a" * 64, "d" * 40, {"sbom": "sha256:" + "e" * 64})


def test_on_a_protected_stack_nothing_happens_without_proof(
    run_context: RunContext, deployed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(*_words: Any, **_more: Any) -> dict[str, VerifiedImage]:
        raise EvidenceError("unsigned")

    monkeypatch.setattr(rollback.evidence, "verify_evidence", verify)
    with pytest.raises(EvidenceError, match="unsigned"):
        carry_out(run_context, make_rollback(PROD))
    assert not (run_context.workspace.root / "deploy").exists() and not deployed


def test_a_released_image_takes_its_evidence_along_where_it_holds(
    run_context: RunContext, deployed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = f"{REGISTRY}/shop/release/api@sha256:{'1' * 64}"
    way = replace(make_rollback(STACK), steps=(RollbackStep("api", "", released, "goes back"),))
    proof = VerifiedImage(released, "api", "a" * 64, None, {"sbom": "sha256:" + "e" * 64}, {}, "ann")
    monkeypatch.setattr(rollback.evidence, "verify_evidence", lambda *_, **__: {"api": proof})
    assert carry_out(run_context, way)["api"].evidence == {"sbom": "sha256:" + "e" * 64}

    def verify(*_words: Any, **_more: Any) -> dict[str, VerifiedImage]:
        raise EvidenceError("no key is trusted")

    (run_context.workspace.root / "deploy" / "dev.lock.json").unlink()
    monkeypatch.setattr(rollback.evidence, "verify_evidence", verify)
    assert carry_out(run_context, way)["api"] == lock.LockEntry(released, "")


def test_a_deploy_that_fails_leaves_the_lock_to_say_what_should_run(
    run_context: RunContext, deployed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def deploy(*_words: Any) -> None:
        raise SlipwayError("api did not become healthy")

    monkeypatch.setattr(rollback.deploy, "deploy_stack", deploy)
    monkeypatch.setattr(rollback.deploy, "refuse_foreign_objects", lambda *_: None)
    with pytest.raises(SlipwayError, match="healthy"):
        carry_out(run_context, make_rollback(STACK, api="a" * 64))
    assert lock.load(run_context.workspace.root, "dev").services["api"].ref == ref("api", "1")


@pytest.mark.parametrize(
    ("mode", "said"), [("inline", "builds the current sources again"), ("hybrid", "from the lock")]
)
def test_that_the_mode_is_another_for_this_run_is_said(mode: Any, said: str) -> None:
    assert said in " ".join(make_rollback(replace(STACK, mode=mode)).summary_lines())
    assert len(make_rollback(PROD).summary_lines()) == 1


def test_services_that_are_no_longer_there_are_said() -> None:
    assert "not deployed: old" in " ".join(replace(make_rollback(STACK), missing_services=("old",)).summary_lines())
