"""The Pulumi engine's events: which are failures, and which only report progress."""

from __future__ import annotations

from pathlib import Path

from pulumi.automation.events import DiagnosticEvent, EngineEvent

from slipway._internal.context.reporter import NullReporter
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
