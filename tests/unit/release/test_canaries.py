"""What there is of canaries, what a verb would do with one, what is refused, and in which order it is done."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from tests.unit.release.conftest import Deployment

from slipway._internal.context.reporter import NullReporter
from slipway._internal.gate import verification
from slipway._internal.model import lock
from slipway._internal.model.canary import Canary
from slipway._internal.model.errors import ConfigError, EvidenceError, SlipwayError, StackBusy
from slipway._internal.model.workspace import JobSettings, load_workspace
from slipway._internal.provider.handler import ResourceState
from slipway._internal.provider.release import ReleaseHandler
from slipway._internal.release import canaries, canary_run, deploy, releases, rollback
from slipway._internal.release.canaries import plan_end, plan_share, refuse_without_weights
from slipway._internal.release.canary_guard import find_shares, list_steps, refuse_during_canary
from slipway._internal.release.canary_run import changed_urns, execute_canary
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.run.pulumi import Outcome

TODAY = date(2026, 12, 1)
API, WEB = "service-000", "service-001"


def ref(letter: str, service: str = API) -> str:
    return f"127.0.0.1:1/many/{service}@sha256:{letter * 64}"


OLD, NEW = ref("a"), ref("b")


def record(name: str, image: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "time": "2026-12-01T09:30:00Z",
        "mode": "inline",
        "digests": {API: image, WEB: ref("c", WEB)},
        "contents": {},
    } | more


def state(*under_way: Canary, **outputs: Any) -> list[dict[str, Any]]:
    """Return the resources of a stack whose live release has the old image; the one before it had another."""
    live, early = record("r-2", OLD), record("r-1", ref("e"))
    inputs = {"canaries": {each.service: {"image": each.image, "percent": float(each.percent)} for each in under_way}}
    return [
        {
            "type": releases.RELEASE_TYPE,
            "inputs": inputs,
            "outputs": {"releases": [live, early], "steps": [], **outputs},
        },
        {"type": releases.LIVE_TYPE, "outputs": {"live": "r-2", "good": [live, early]}},
    ]


class Stage:
    """A deployed stack, the image that a build gives, and what Pulumi was opened with."""

    def __init__(self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        self.deployment, self.resources = deployment, state()
        self.built: list[str] = []
        deployment.workspace = load_workspace(deployment.root)
        deployment.context = replace(deployment.context, workspace=deployment.workspace)
        monkeypatch.setattr(canaries, "list_stack_resources", lambda *_: self.resources)
        monkeypatch.setattr(canary_run, "target_of", lambda *_: deployment.target)
        monkeypatch.setattr(canary_run, "generate_secrets", lambda *_: None)
        monkeypatch.setattr(canary_run, "warn_of_unknown_commit", lambda *_: None)
        monkeypatch.setattr(canary_run, "build_image", self._build)
        monkeypatch.setattr(
            canary_run,
            "resolve_entries",
            lambda _context, plan, _reporter, today: {API: lock.LockEntry(plan.steps[0].ref, "")},
        )
        self.stack = deployment.stack

    def _build(self, _context: Any, service: Any, _reporter: Any) -> str:
        self.built.append(service.name)
        return NEW

    def share(self, percent: int = 10, release: str | None = None) -> canaries.CanaryPlan:
        return plan_share(self.deployment.context, self.stack, API, percent, release)

    def execute(self, plan: canaries.CanaryPlan) -> Any:
        return execute_canary(self.deployment.context, plan, NullReporter(), lambda _: True, today=TODAY)

    @property
    def runs(self) -> list[tuple[Any, ...]]:
        """What Pulumi was opened with for each run: the stack, the inputs, the images."""
        return self.deployment.opened


@pytest.fixture
def stage(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(deployment, monkeypatch)


def test_the_first_share_builds_what_the_files_say_and_changes_nothing_else(stage: Stage) -> None:
    plan = stage.share()
    assert plan.builds and plan.before is None and "10 % of requests" in plan.summary
    stage.execute(plan)
    assert stage.built == [API]
    [(stack, inputs, images)] = stage.runs
    assert stack.canaries == (Canary(API, NEW, 10),) and stack.canary_change == "weights"
    assert images == {API: OLD, WEB: ref("c", WEB), f"{API}.canary": NEW}
    assert inputs.lock_entries[API].ref == OLD
    assert stage.deployment.pulumi_stack.targets == changed_urns(stack, API)
    assert not any(urn.endswith(f"Container::{API}") for urn in changed_urns(stack, API))


def test_another_share_builds_nothing_and_keeps_the_image(stage: Stage) -> None:
    stage.resources = state(Canary(API, NEW, 10))
    plan = stage.share(50)
    assert not plan.builds and "50 % of requests instead of 10 %" in plan.summary
    stage.execute(plan)
    [(stack, *_)] = stage.runs
    assert stack.canaries == (Canary(API, NEW, 50),) and stage.built == []


def test_a_promotion_replaces_the_service_while_its_canary_serves_and_ends_it_then(stage: Stage) -> None:
    stage.resources = state(Canary(API, NEW, 50), Canary(WEB, ref("d", WEB), 5))
    plan = plan_end(stage.deployment.context, stage.stack, API, promotes=True)
    assert "all requests go to" in plan.summary
    stage.execute(plan)
    (first, inputs, images), (second, *_) = stage.runs
    assert first.canary_change == "promotion" and {each.service for each in first.canaries} == {API, WEB}
    assert images[API] == NEW and images[WEB] == ref("c", WEB) and inputs.lock_entries[API].ref == NEW
    assert f"**slipway:docker:Container::{API}" in changed_urns(first, API)
    assert second.canary_change == "weights" and second.canary_end == "promoted"
    assert [each.service for each in second.canaries] == [WEB]
    assert not lock.path_of(stage.deployment.root, "dev").exists()


def test_an_abortion_asks_nothing_of_images_and_leaves_other_canaries(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.resources = state(Canary(API, NEW, 50), Canary(WEB, ref("d", WEB), 5))
    monkeypatch.setattr(canary_run, "_proven_entry", lambda *_: pytest.fail("nothing new comes"))
    stage.execute(plan_end(stage.deployment.context, stage.stack, API, promotes=False))
    [(stack, *_)] = stage.runs
    assert [each.service for each in stack.canaries] == [WEB] and stack.canary_end == "aborted"


def test_a_canary_that_does_not_start_is_taken_back_and_its_error_stays(stage: Stage) -> None:
    def fail(_on_event: Any) -> None:
        stage.resources = state(Canary(API, NEW, 10))  # what Pulumi has recorded before the container failed

    stage.deployment.pulumi_stack.while_working = fail
    stage.deployment.pulumi_stack.gives = [SlipwayError("service api failed"), Outcome({"update": 1}, {})]
    with pytest.raises(SlipwayError, match="service api failed"):
        stage.execute(stage.share())
    assert [run[0].canaries for run in stage.runs] == [(Canary(API, NEW, 10),), ()]


def test_one_that_cannot_be_taken_back_says_how_to_end_it(stage: Stage) -> None:
    def fail(_on_event: Any) -> None:
        stage.resources = state(Canary(API, NEW, 10))

    stage.deployment.pulumi_stack.while_working = fail
    stage.deployment.pulumi_stack.gives = [SlipwayError("it failed"), SlipwayError("no engine")]
    with pytest.raises(SlipwayError, match="it failed") as caught:
        stage.execute(stage.share())
    assert "no engine" in caught.value.detail and f"invoke canary {API} --abort" in caught.value.remedy


def test_a_step_that_fails_leaves_the_canary(stage: Stage) -> None:
    stage.resources = state(Canary(API, NEW, 10))
    stage.deployment.pulumi_stack.gives = [SlipwayError("no engine")]
    with pytest.raises(SlipwayError, match="no engine"):
        stage.execute(stage.share(50))
    assert len(stage.runs) == 1


def test_an_earlier_release_gives_its_image(stage: Stage) -> None:
    plan = stage.share(release="r-1")
    assert plan.image == ref("e") and not plan.builds
    with pytest.raises(ConfigError, match="no release r-9"):
        stage.share(release="r-9")


def test_the_image_that_runs_is_no_canary(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="runs that image"):
        stage.share(release="r-2")
    monkeypatch.setattr(canary_run, "build_image", lambda *_: OLD)
    with pytest.raises(ConfigError, match="runs that image"):
        stage.execute(stage.share())
    assert stage.runs == []


def test_a_canary_of_another_image_is_ended_first(stage: Stage) -> None:
    stage.resources = state(Canary(API, NEW, 10))
    with pytest.raises(ConfigError, match="another image") as caught:
        stage.share(20, release="r-1")
    assert "--abort" in caught.value.remedy


@pytest.mark.parametrize("percent", [0, 100, -1])
def test_a_share_is_between_1_and_99(stage: Stage, percent: int) -> None:
    with pytest.raises(ConfigError, match="is none"):
        stage.share(percent)


def test_what_never_ran_has_nothing_to_be_compared_with(stage: Stage) -> None:
    stage.resources = []
    with pytest.raises(ConfigError, match="does not run in dev yet"):
        stage.share()


def test_after_a_deploy_that_failed_none_begins(stage: Stage) -> None:
    failed = [record("r-3", NEW), record("r-2", OLD), record("r-1", ref("e"))]
    stage.resources = state(releases=failed)
    with pytest.raises(ConfigError, match="r-3"):
        stage.share()


def test_a_service_without_a_canary_cannot_end_one(stage: Stage) -> None:
    for promotes in (True, False):
        with pytest.raises(ConfigError, match="has no canary"):
            plan_end(stage.deployment.context, stage.stack, API, promotes=promotes)


def test_what_nothing_could_share_out_is_refused_by_name(stage: Stage) -> None:
    workspace = stage.deployment.workspace
    service = workspace.service(API)

    def refusal(**changed: Any) -> str:
        settings = {name: changed.pop(name) for name in ("job", "route", "volumes") if name in changed}
        other = replace(service, settings=replace_settings(service.settings, **settings))
        with pytest.raises(ConfigError) as caught:
            refuse_without_weights(workspace, replace(stage.stack, **changed), other)
        return caught.value.message

    assert "slipway:ingress" in refusal(target="kubernetes", ingress="nginx")
    assert "no slipway:gateway" in refusal(target="kubernetes")
    assert "nomad" in refusal(target="nomad")
    assert "runs elsewhere" in refusal(external=frozenset({API}))
    assert "has no route" in refusal(route=None)
    assert "has no route" in refusal(job=JobSettings("@daily"))
    refuse_without_weights(workspace, replace(stage.stack, target="kubernetes", gateway="envoy"), service)


def replace_settings(settings: Any, **changed: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(settings, **changed)


def test_on_a_locked_stack_the_locks_image_is_next_and_a_lock_without_one_is_refused(stage: Stage) -> None:
    external = replace(stage.stack, mode="external")
    stage.stack = external
    with pytest.raises(EvidenceError, match="has no digest for"):
        stage.share()
    lock.save(stage.deployment.root, lock.Lock("dev", services={API: lock.LockEntry(NEW, "f" * 64)}))
    assert stage.share().image == NEW


def test_a_protected_stack_takes_nothing_unproven(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.stack = replace(stage.stack, mode="external", protected=True)
    lock.save(stage.deployment.root, lock.Lock("dev", services={API: lock.LockEntry(NEW, "f" * 64)}))

    def refuse(*_args: Any, **_more: Any) -> Any:
        raise EvidenceError("its signature is missing")

    monkeypatch.setattr(verification, "verify_stack", refuse)
    monkeypatch.setattr(canary_run, "resolve_entries", refuse)
    monkeypatch.setattr("slipway._internal.gate.prebuilt_images.resolve_refs", lambda *_: {})
    for plan in (stage.share(), stage.share(release="r-1")):
        with pytest.raises(EvidenceError, match="signature is missing"):
            stage.execute(plan)
    stage.resources = state(Canary(API, NEW, 10))
    for plan in (stage.share(50), plan_end(stage.deployment.context, stage.stack, API, promotes=True)):
        with pytest.raises(EvidenceError, match="signature is missing"):
            stage.execute(plan)
    assert stage.runs == []


def test_a_promoted_image_is_locked_where_the_lock_names_another(stage: Stage) -> None:
    stage.stack = replace(stage.stack, mode="external")
    lock.save(stage.deployment.root, lock.Lock("dev", services={API: lock.LockEntry(ref("f"), "f" * 64)}))
    stage.resources = state(Canary(API, NEW, 50))
    stage.execute(plan_end(stage.deployment.context, stage.stack, API, promotes=True))
    assert lock.load(stage.deployment.root, "dev").services[API].ref == NEW


def test_a_deploy_a_preview_and_a_rollback_are_refused_meanwhile(stage: Stage) -> None:
    write_state(stage, state(Canary(API, NEW, 10)))
    context, stack = stage.deployment.context, stage.stack
    for work in (
        lambda: deploy.deploy_stack(context, stack, NullReporter(), lambda _: True),
        lambda: deploy.preview_stack(context, stack),
        lambda: deploy.refuse_foreign_objects_early(context, stack),
        lambda: rollback.plan_release_rollback(context, stack, None),
    ):
        with pytest.raises(StackBusy, match=f"{API} .10 %.") as caught:
            work()
        assert "--promote --stack dev" in caught.value.remedy and "--abort --stack dev" in caught.value.remedy
    assert find_shares(stage.deployment.workspace, stack) == {API: 10}


def test_without_a_state_or_a_canary_nothing_is_refused(stage: Stage) -> None:
    workspace = stage.deployment.workspace
    refuse_during_canary(workspace, "dev")
    write_state(stage, state())
    refuse_during_canary(workspace, "dev")
    assert find_shares(workspace, stage.stack) == {}


def test_steps_are_listed_with_who_and_when(stage: Stage) -> None:
    step = {
        "time": "2026-12-01T09:30:00Z",
        "actor": "ann",
        "service": API,
        "image": NEW,
        "percent": 10.0,
        "result": "share",
    }
    write_state(stage, state(Canary(API, NEW, 10), steps=[step]))
    [found] = list_steps(stage.deployment.workspace, stage.stack)
    assert canaries.step_cells(found)[1:] == (API, "b" * 12, "10 %", "ann")
    stage.resources = state(Canary(API, NEW, 10), steps=[step])
    [row] = canaries.read_canaries(stage.deployment.context, stage.stack).rows
    assert (row.service, row.percent, row.actor, row.stable_image) == (API, 10, "ann", OLD)
    stage.resources = state(steps=[{"time": 1}])
    with pytest.raises(SlipwayError, match="cannot read the steps"):
        canaries.read_canaries(stage.deployment.context, stage.stack)


def write_state(stage: Stage, resources: list[dict[str, Any]]) -> None:
    file = stage.deployment.root / ".slipway" / "state" / ".pulumi" / "stacks" / "many" / "dev.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"checkpoint": {"latest": {"resources": resources}}}), encoding="utf-8")


def test_a_canarys_digest_is_needed() -> None:
    found = dict(releases.digests_in_state("dev", state(Canary(API, NEW, 10))))
    assert found["sha256:" + "b" * 64] == f"the canary of {API} in dev"
    assert "sha256:" + "b" * 64 not in dict(releases.digests_in_state("dev", state()))


def release_state(**inputs: Any) -> ResourceState:
    base = {"mode": "inline", "digests": {API: OLD}}
    return ResourceState("urn", "r-1", {**base, **inputs}, {"releases": [record("r-1", OLD)], "steps": []})


SHARE = {API: {"image": NEW, "percent": 10.0}}


def test_the_provider_refuses_to_end_a_canary_unasked() -> None:
    handler, base = ReleaseHandler(), {"mode": "inline", "digests": {API: OLD}}
    with pytest.raises(StackBusy, match="canary under way"):
        handler.validate_change({**base, "canaries": SHARE}, base)
    assert handler.validate_change({**base, "canaries": SHARE}, {**base, "canaries": {}}) == []
    assert handler.validate_change({**base, "canaries": {}}, base) == []
    assert handler.validate_change({}, base) == []


def test_a_step_is_recorded_and_is_no_release() -> None:
    handler, old = ReleaseHandler(), release_state()
    news = {**old.inputs, "canaries": SHARE}
    assert list(handler.diff(old, news).changed) == ["canaries"]
    outputs = handler.update(old, news, CancellationToken())
    assert outputs["releases"] == old.outputs["releases"]
    [step] = outputs["steps"]
    assert step["actor"] and step["time"].endswith("Z")
    assert {key: step[key] for key in ("service", "image", "percent", "result")} == {
        "service": API,
        "image": NEW,
        "percent": 10,
        "result": "share",
    }
    assert list(handler.diff(release_state(canaries=SHARE), news).changed) == []


@pytest.mark.parametrize("end", ["promoted", "aborted"])
def test_how_a_canary_ends_is_recorded(end: str) -> None:
    old = release_state(canaries=SHARE)
    outputs = ReleaseHandler().update(old, {**old.inputs, "canaries": {}, "ends": end}, CancellationToken())
    assert [(step["result"], step["percent"]) for step in outputs["steps"]] == [(end, 0)]


def test_a_promotion_is_a_release() -> None:
    old = release_state(canaries=SHARE)
    outputs = ReleaseHandler().update(old, {**old.inputs, "digests": {API: NEW}}, CancellationToken())
    assert [found["digests"][API] for found in outputs["releases"]] == [NEW, OLD] and outputs["steps"] == []
