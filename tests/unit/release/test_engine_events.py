"""The Pulumi engine's events: which are failures, and which only report progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pulumi.automation.events import (
    DiagnosticEvent,
    EngineEvent,
    OpType,
    ResOpFailedEvent,
    ResourcePreEvent,
    ResOutputsEvent,
    StepEventMetadata,
    StepEventStateMetadata,
    SummaryEvent,
)
from tests.unit.release.conftest import DIGEST, SaidReporter

from slipway._internal.context.logs import build_log
from slipway._internal.context.reporter import NullReporter
from slipway._internal.insight import run_recorder
from slipway._internal.insight.run_recorder import Recorder
from slipway._internal.release.engine_events import EngineEventReporter

DEPLOYMENT = "urn:pulumi:prod::shop::kubernetes:apps/v1:Deployment::api"
UNREADY = "[Pod shop-prod/api-1]: containers with unready status: [api] -- [CrashLoopBackOff] back-off 10s"
TIMED_OUT = "resource \"api\" was not successfully updated: 'api' timed out waiting to be Ready"


def error(message: str, *, ephemeral: bool) -> EngineEvent:
    """Return the event of an error that the plugin tells of the Deployment."""
    diagnostic = DiagnosticEvent(message, "never", "error", urn=DEPLOYMENT, ephemeral=ephemeral)
    return EngineEvent(1, 0, diagnostic_event=diagnostic)


def test_a_pod_that_is_not_ready_yet_is_no_failure(tmp_path: Path) -> None:
    reporter = EngineEventReporter(NullReporter(), tmp_path)
    reporter(error(UNREADY, ephemeral=True))
    assert reporter.failures.failed_rollouts() == []
    assert reporter.failures.combined_error() is None


def test_a_rollout_that_has_failed_is_told_by_its_end(tmp_path: Path) -> None:
    reporter = EngineEventReporter(NullReporter(), tmp_path)
    for event in (error(UNREADY, ephemeral=True), error(TIMED_OUT, ephemeral=False)):
        reporter(event)
    assert reporter.failures.failed_rollouts() == ["api"]
    failed = reporter.failures.combined_error()
    assert failed is not None and failed.detail == TIMED_OUT


COMMAND = "slipway:docker:ReleaseCommand"
IMAGE, CONTAINER, GATEWAY, ROLLOUT = (
    "docker-build:index:Image",
    "slipway:docker:Container",
    "slipway:docker:Gateway",
    "kubernetes:apps/v1:Deployment",
)


def metadata(kind: str, op: OpType, name: str = "api", **outputs: Any) -> StepEventMetadata:
    urn = f"urn:pulumi:dev::shop::slipway:docker:DockerServices${kind}::{name}"
    new = StepEventStateMetadata(kind, urn, "id", "", "", outputs=outputs) if outputs else None
    return StepEventMetadata(op, urn, kind, "", new=new)


def begun(kind: str, op: OpType = OpType.CREATE, name: str = "api") -> EngineEvent:
    return EngineEvent(1, 0, resource_pre_event=ResourcePreEvent(metadata(kind, op, name)))


def ended(kind: str, op: OpType = OpType.CREATE, name: str = "api", **outputs: Any) -> EngineEvent:
    return EngineEvent(2, 0, res_outputs_event=ResOutputsEvent(metadata(kind, op, name, **outputs)))


def failed(kind: str, name: str = "api") -> EngineEvent:
    return EngineEvent(3, 0, res_op_failed_event=ResOpFailedEvent(metadata(kind, OpType.CREATE, name), 1, 1))


def printed(kind: str, message: str) -> EngineEvent:
    told = DiagnosticEvent(message, "never", "info", urn=metadata(kind, OpType.CREATE).urn)
    return EngineEvent(4, 0, diagnostic_event=told)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """The record of the deploy that is under way."""
    found = Recorder("deploy")
    monkeypatch.setattr(run_recorder, "_recorders", [found])
    return found


@pytest.mark.parametrize(
    ("kind", "op", "said"),
    [
        (CONTAINER, OpType.CREATE_REPLACEMENT, ["api: starting", "api: healthy"]),
        (CONTAINER, OpType.DELETE_REPLACED, ["api: draining the old one", "api: healthy, the old one is gone"]),
        (COMMAND, OpType.CREATE, ["api: release command running", "api: release command done"]),
        (COMMAND, OpType.UPDATE, ["api: release command running", "api: release command done"]),
        (COMMAND, OpType.SAME, []),
        (GATEWAY, OpType.UPDATE, ["gateway: switching", "gateway: switched"]),
        (ROLLOUT, OpType.UPDATE, ["api: rolling out", "api: ready"]),
        (CONTAINER, OpType.SAME, []),
        ("random:index:Pet", OpType.CREATE, []),
    ],
)
def test_each_step_of_a_service_is_told_and_nothing_of_what_stays(
    tmp_path: Path, kind: str, op: OpType, said: list[str]
) -> None:
    report = SaidReporter()
    reporter = EngineEventReporter(report, tmp_path)
    reporter(begun(kind, op))
    reporter(ended(kind, op))
    assert report.lines == said


def test_a_built_image_is_told_with_its_digest(tmp_path: Path) -> None:
    report = SaidReporter()
    reporter = EngineEventReporter(report, tmp_path)
    reporter(begun(IMAGE))
    reporter(ended(IMAGE, digest=DIGEST))
    assert report.lines == ["api: building", "api: built a1a1a1a1a1a1"]


def test_a_step_that_failed_is_told(tmp_path: Path, recorder: Recorder) -> None:
    report = SaidReporter()
    reporter = EngineEventReporter(report, tmp_path)
    reporter(begun(CONTAINER))
    reporter(failed(CONTAINER))
    assert report.lines == ["api: starting", "api: failed"]
    record = recorder.to_record("failed", "api failed", 1)
    assert [step.state for step in record.services["api"]] == ["failed"]


def test_what_a_build_prints_is_in_its_log_which_begins_anew_with_each_deploy(tmp_path: Path) -> None:
    log = build_log(tmp_path, "api")
    for number in (1, 2):
        report = SaidReporter()
        reporter = EngineEventReporter(report, tmp_path)
        reporter(begun(IMAGE))
        reporter(printed(IMAGE, f"#7 [build 2/5] RUN make {number}\n"))
        reporter(printed(IMAGE, "#7 0.1 splinter\n#7 0.2 glue\n"))
        assert report.lines[1:] == [f"api: building #7 [build 2/5] RUN make {number}", "api: building #7 0.2 glue"]
        assert log.read_text().splitlines() == [
            f"#7 [build 2/5] RUN make {number}",
            "#7 0.1 splinter",
            "#7 0.2 glue",
        ]


def test_what_a_rollout_waits_for_is_told_and_what_others_print_is_not(tmp_path: Path) -> None:
    report = SaidReporter()
    reporter = EngineEventReporter(report, tmp_path)
    reporter(printed(ROLLOUT, "[1/2]\n * waiting for pods\n"))
    reporter(printed(CONTAINER, "a note"))
    reporter(printed(IMAGE, "   "))
    assert report.lines == ["api: rolling out waiting for pods"]


def test_services_whose_rollout_is_under_way_are_known(tmp_path: Path) -> None:
    reporter = EngineEventReporter(NullReporter(), tmp_path)
    reporter(begun(ROLLOUT, OpType.UPDATE))
    reporter(begun(ROLLOUT, OpType.SAME, "web"))
    assert reporter.rolling_out == {"api"}
    reporter(ended(ROLLOUT, OpType.UPDATE))
    assert reporter.rolling_out == set()


def test_a_build_is_silent_from_its_last_word_to_its_end(tmp_path: Path) -> None:
    reporter = EngineEventReporter(NullReporter(), tmp_path)
    reporter(begun(IMAGE))
    reporter(begun(CONTAINER, name="web"))
    reporter(printed(IMAGE, "#1 DONE"))
    assert reporter.silent_builds(0) == ["api"] and reporter.silent_builds(3600) == []
    reporter(ended(IMAGE))
    assert reporter.silent_builds(0) == []


def test_the_record_has_pulumis_phases_and_each_services_steps(tmp_path: Path, recorder: Recorder) -> None:
    reporter = EngineEventReporter(NullReporter(), tmp_path)
    for event in (begun(IMAGE), ended(IMAGE), begun(CONTAINER), ended(CONTAINER)):
        reporter(event)
    reporter(EngineEvent(9, 0, summary_event=SummaryEvent(False, 1, {}, {})))
    record = recorder.to_record("done", "", 1)
    assert [phase.name for phase in record.phases][-2:] == ["Pulumi works", "Pulumi ends"]
    assert [(step.name, step.kind, step.state) for step in record.services["api"]] == [
        ("image: building", "image", "done"),
        ("container: starting", "container", "done"),
    ]


def test_of_a_release_command_that_a_rollback_leaves_out_nothing_is_told(tmp_path: Path) -> None:
    report = SaidReporter()
    reporter = EngineEventReporter(report, tmp_path)
    step = metadata(COMMAND, OpType.CREATE)
    step.new = StepEventStateMetadata(COMMAND, step.urn, "id", "", "", inputs={"rollsBack": True}, outputs={})
    reporter(EngineEvent(1, 0, resource_pre_event=ResourcePreEvent(step)))
    reporter(EngineEvent(2, 0, res_outputs_event=ResOutputsEvent(step)))
    assert report.lines == []
