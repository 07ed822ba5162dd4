"""Turns the Pulumi engine's events into progress by service: building, starting, healthy, switched, drained."""

from __future__ import annotations

import time
from pathlib import Path

from pulumi.automation.events import DiagnosticEvent, EngineEvent, StepEventMetadata

from slipway._internal.commands.plain_progress import PlainProgressParser
from slipway._internal.context.logs import build_log
from slipway._internal.context.reporter import Reporter
from slipway._internal.insight.run_recorder import current_recorder
from slipway._internal.model.files import open_private
from slipway._internal.model.masking import mask
from slipway._internal.model.run_record import StepType
from slipway._internal.release.resource_failures import (
    IMAGE_TYPE,
    ROLLOUT_TYPES,
    FetchBuildLog,
    FindError,
    ResourceFailures,
)
from slipway._internal.run.pulumi import operation_of

RELEASE_COMMAND_RUNS = "release command running"
STEP_STATES = {
    ("docker-build:index:Image", "create"): ("building", "built"),
    ("docker-build:index:Image", "update"): ("building", "built"),
    ("docker-build:index:Image", "replace"): ("building", "built"),
    ("docker-build:index:Image", "create-replacement"): ("building", "built"),
    ("slipway:docker:Container", "create"): ("starting", "healthy"),
    ("slipway:docker:Container", "create-replacement"): ("starting", "healthy"),
    ("slipway:docker:Container", "delete"): ("stopping", "removed"),
    ("slipway:docker:Container", "delete-replaced"): ("draining the old one", "healthy, the old one is gone"),
    ("slipway:docker:Job", "create"): ("scheduling", "scheduled"),
    ("slipway:docker:Job", "create-replacement"): ("scheduling", "scheduled"),
    ("slipway:docker:Job", "delete"): ("stopping", "removed"),
    ("slipway:docker:Job", "delete-replaced"): ("waiting for the old one's run", "scheduled, the old one is gone"),
    ("slipway:docker:ReleaseCommand", "create"): (RELEASE_COMMAND_RUNS, "release command done"),
    ("slipway:docker:ReleaseCommand", "update"): (RELEASE_COMMAND_RUNS, "release command done"),
    ("slipway:kubernetes:ReleaseCommand", "create"): (RELEASE_COMMAND_RUNS, "release command done"),
    ("slipway:kubernetes:ReleaseCommand", "update"): (RELEASE_COMMAND_RUNS, "release command done"),
    ("slipway:docker:Gateway", "create"): ("starting", "serving"),
    ("slipway:docker:Gateway", "update"): ("switching", "switched"),
    ("slipway:docker:Gateway", "create-replacement"): ("starting", "serving"),
    ("slipway:docker:Gateway", "delete"): ("stopping", "removed"),
    ("kubernetes:apps/v1:Deployment", "create"): ("rolling out", "ready"),
    ("kubernetes:apps/v1:Deployment", "update"): ("rolling out", "ready"),
    ("kubernetes:apps/v1:Deployment", "create-replacement"): ("rolling out", "ready"),
    ("kubernetes:apps/v1:Deployment", "delete"): ("stopping", "removed"),
    ("kubernetes:apps/v1:StatefulSet", "create"): ("rolling out", "ready"),
    ("kubernetes:apps/v1:StatefulSet", "update"): ("rolling out", "ready"),
    ("kubernetes:apps/v1:StatefulSet", "create-replacement"): ("rolling out", "ready"),
    ("kubernetes:apps/v1:StatefulSet", "delete"): ("stopping", "removed"),
    ("kubernetes:batch/v1:CronJob", "create"): ("scheduling", "scheduled"),
    ("kubernetes:batch/v1:CronJob", "update"): ("scheduling", "scheduled"),
    ("kubernetes:batch/v1:CronJob", "delete"): ("stopping", "removed"),
    ("slipway:docker:Network", "create"): ("creating", "created"),
    ("slipway:docker:Network", "delete"): ("removing", "removed"),
}

STEP_TYPE_BY_RESOURCE: dict[str, StepType] = {
    "docker-build:index:Image": "image",
    "slipway:docker:Container": "container",
    "kubernetes:apps/v1:Deployment": "container",
    "kubernetes:apps/v1:StatefulSet": "container",
    "kubernetes:batch/v1:CronJob": "container",
    "slipway:docker:Job": "container",
    "slipway:docker:ReleaseCommand": "container",
    "slipway:kubernetes:ReleaseCommand": "container",
    "slipway:docker:Gateway": "gateway",
    "slipway:docker:Network": "network",
}


class EngineEventReporter:
    """Passes the engine's events to the reporter, and writes build output to one log file per service.

    `rolling_out` holds the services that are being rolled out on a cluster.
    """

    def __init__(
        self,
        reporter: Reporter,
        logs: Path,
        fetch_build_log: FetchBuildLog = lambda _service: "",
        find_error: FindError = lambda _urn: None,
    ) -> None:
        self._reporter = reporter
        self._logs = logs
        self._written_logs: set[Path] = set()
        self._recorder = current_recorder()
        self._build_parsers: dict[str, PlainProgressParser] = {}
        self._ended_builds: set[str] = set()
        self._last_output_at: dict[str, float] = {}
        self._started = False
        self.rolling_out: set[str] = set()
        self.failures = ResourceFailures(fetch_build_log, find_error)

    def __call__(self, event: EngineEvent) -> None:
        if not self._started:
            self._started = True
            self._recorder.enter_phase("Pulumi works")
        if event.summary_event:
            self._recorder.enter_phase("Pulumi ends")
        if event.resource_pre_event:
            self._handle_step_started(event.resource_pre_event.metadata)
        elif event.res_outputs_event:
            self._handle_step_done(event.res_outputs_event.metadata)
        elif event.res_op_failed_event:
            metadata = event.res_op_failed_event.metadata
            self._forget_step(metadata)
            self._reporter.failed(_resource_name(metadata.urn), "failed")
            self._recorder.fail_service(_resource_name(metadata.urn))
        elif event.diagnostic_event and event.diagnostic_event.urn:
            self._handle_diagnostic(event.diagnostic_event.urn, event.diagnostic_event)

    def silent_builds(self, seconds: float) -> list[str]:
        """Return the services whose running builds have printed nothing for `seconds`."""
        now = time.monotonic()
        return [name for name, last_output_at in list(self._last_output_at.items()) if now - last_output_at >= seconds]

    def _handle_step_started(self, metadata: StepEventMetadata) -> None:
        states = _states_of(metadata)
        if metadata.type in ROLLOUT_TYPES and operation_of(metadata.op) not in ("delete", "same"):
            self.rolling_out.add(_resource_name(metadata.urn))
        if states:
            self._reporter.step(_resource_name(metadata.urn), states[0])
            if metadata.type == IMAGE_TYPE:
                self._last_output_at[_resource_name(metadata.urn)] = time.monotonic()
            step_type = STEP_TYPE_BY_RESOURCE[metadata.type]
            self._recorder.begin_step(_resource_name(metadata.urn), f"{step_type}: {states[0]}", step_type)

    def _forget_step(self, metadata: StepEventMetadata) -> None:
        if metadata.type in ROLLOUT_TYPES:
            self.rolling_out.discard(_resource_name(metadata.urn))
        if metadata.type == IMAGE_TYPE:
            self._last_output_at.pop(_resource_name(metadata.urn), None)

    def _handle_step_done(self, metadata: StepEventMetadata) -> None:
        self._forget_step(metadata)
        states = _states_of(metadata)
        if states:
            digest = str(((metadata.new and metadata.new.outputs) or {}).get("digest", ""))
            self._reporter.done(_resource_name(metadata.urn), f"{states[1]} {digest[7:19]}".strip())
            step_type = STEP_TYPE_BY_RESOURCE[metadata.type]
            if step_type == "image":
                self._ended_builds.add(_resource_name(metadata.urn))
                self._recorder.end_build(_resource_name(metadata.urn))
            self._recorder.end_step(_resource_name(metadata.urn), f"{step_type}: {states[0]}", step_type)

    def _handle_diagnostic(self, urn: str, event: DiagnosticEvent) -> None:
        self._handle_output(urn, event.message)
        # A plugin's messages while it waits are ephemeral: a pod that is not ready yet may become ready.
        if event.severity == "error" and not event.ephemeral:
            self.failures.add(
                _resource_type(urn),
                _resource_name(urn),
                mask(event.message),
                build_log(self._logs, _resource_name(urn)),
                urn,
            )

    def _handle_output(self, urn: str, message: str) -> None:
        service = _resource_name(urn)
        text = mask(message.rstrip())
        if text and _resource_type(urn) in ROLLOUT_TYPES:
            self._reporter.step(service, "rolling out", text.splitlines()[-1].strip(" \t*"))
        if not text or _resource_type(urn) != "docker-build:index:Image":
            return
        if service in self._last_output_at:
            self._last_output_at[service] = time.monotonic()
        log = build_log(self._logs, service)
        with open_private(log, "a" if log in self._written_logs else "w") as file:
            file.write(f"{text}\n")
        self._written_logs.add(log)
        if service not in self._ended_builds:  # lines may come late
            for event in self._build_parsers.setdefault(service, PlainProgressParser(service)).feed(text):
                self._recorder.record_build_event(service, event)
        self._reporter.step(service, "building", text.splitlines()[-1])


def _states_of(metadata: StepEventMetadata) -> tuple[str, str] | None:
    """Return the words for a step's beginning and end; None for one that nobody need hear of."""
    if metadata.new and (metadata.new.inputs or {}).get("rollsBack"):
        return None  # a release command that is not run
    return STEP_STATES.get((metadata.type, operation_of(metadata.op)))


def _resource_name(urn: str) -> str:
    name = urn.rsplit("::", 1)[-1]
    return {"slipway:docker:Gateway": "gateway", "slipway:docker:Network": "network"}.get(_resource_type(urn), name)


def _resource_type(urn: str) -> str:
    return urn.split("::")[-2].rsplit("$", 1)[-1]
