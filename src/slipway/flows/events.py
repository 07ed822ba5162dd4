"""Turns the Pulumi engine's events into a report of services: building, starting, healthy, switched, drained."""

from __future__ import annotations

import time
from pathlib import Path

from pulumi.automation.events import DiagnosticEvent, EngineEvent, StepEventMetadata

from slipway.commands.plain import Plain
from slipway.flows.failures import IMAGE, ROLLOUTS, Failures, WholeLog
from slipway.flows.logs import build_log
from slipway.flows.recording import current
from slipway.flows.report import Report
from slipway.model.files import open_private
from slipway.model.masking import mask
from slipway.model.record import Kind
from slipway.run.policy import advised
from slipway.run.pulumi import operation_of

WORDS = {
    ("docker-build:index:Image", "create"): ("building", "built"),
    ("docker-build:index:Image", "update"): ("building", "built"),
    ("docker-build:index:Image", "replace"): ("building", "built"),
    ("docker-build:index:Image", "create-replacement"): ("building", "built"),
    ("slipway:docker:Container", "create"): ("starting", "healthy"),
    ("slipway:docker:Container", "create-replacement"): ("starting", "healthy"),
    ("slipway:docker:Container", "delete"): ("stopping", "removed"),
    ("slipway:docker:Container", "delete-replaced"): ("draining the old one", "healthy, the old one is gone"),
    ("slipway:docker:Gateway", "create"): ("starting", "serving"),
    ("slipway:docker:Gateway", "update"): ("switching", "switched"),
    ("slipway:docker:Gateway", "create-replacement"): ("starting", "serving"),
    ("slipway:docker:Gateway", "delete"): ("stopping", "removed"),
    ("kubernetes:apps/v1:Deployment", "create"): ("rolling out", "ready"),
    ("kubernetes:apps/v1:Deployment", "update"): ("rolling out", "ready"),
    ("kubernetes:apps/v1:Deployment", "create-replacement"): ("rolling out", "ready"),
    ("kubernetes:apps/v1:Deployment", "delete"): ("stopping", "removed"),
    ("kubernetes:batch/v1:CronJob", "create"): ("scheduling", "scheduled"),
    ("kubernetes:batch/v1:CronJob", "update"): ("scheduling", "scheduled"),
    ("kubernetes:batch/v1:CronJob", "delete"): ("stopping", "removed"),
    ("slipway:docker:Network", "create"): ("creating", "created"),
    ("slipway:docker:Network", "delete"): ("removing", "removed"),
}

KINDS: dict[str, Kind] = {
    "docker-build:index:Image": "image",
    "slipway:docker:Container": "container",
    "kubernetes:apps/v1:Deployment": "container",
    "kubernetes:batch/v1:CronJob": "container",
    "slipway:docker:Gateway": "gateway",
    "slipway:docker:Network": "network",
}


class Narrator:
    """Listens to the engine and tells the report; build output goes to one log file for each service.

    `rolling` are the services whose rollout on a cluster is under way.
    """

    def __init__(self, report: Report, logs: Path, whole_log: WholeLog = lambda _service: "") -> None:
        self._report = report
        self._logs = logs
        self._fresh: set[Path] = set()
        self._record = current()
        self._builds: dict[str, Plain] = {}
        self._over: set[str] = set()
        self._heard: dict[str, float] = {}
        self._begun = False
        self.rolling: set[str] = set()
        self.failures = Failures(whole_log)

    def __call__(self, event: EngineEvent) -> None:
        if not self._begun:
            self._begun = True
            self._record.enter("Pulumi works")
        if event.summary_event:
            self._record.enter("Pulumi ends")
        if event.resource_pre_event:
            self._step(event.resource_pre_event.metadata)
        elif event.res_outputs_event:
            self._done(event.res_outputs_event.metadata)
        elif event.res_op_failed_event:
            metadata = event.res_op_failed_event.metadata
            self._settled(metadata)
            self._report.failed(_name(metadata.urn), "failed")
            self._record.failed(_name(metadata.urn))
        elif event.diagnostic_event and event.diagnostic_event.urn:
            self._told(event.diagnostic_event.urn, event.diagnostic_event)
        elif event.policy_event and (said := advised(event.policy_event)):
            self._report.say(said)

    def quiet(self, seconds: float) -> list[str]:
        """Return the services whose builds are under way and have said nothing for some seconds."""
        now = time.monotonic()
        return [name for name, heard in list(self._heard.items()) if now - heard >= seconds]

    def _step(self, metadata: StepEventMetadata) -> None:
        words = WORDS.get((metadata.type, operation_of(metadata.op)))
        if metadata.type in ROLLOUTS and operation_of(metadata.op) not in ("delete", "same"):
            self.rolling.add(_name(metadata.urn))
        if words:
            self._report.step(_name(metadata.urn), words[0])
            if metadata.type == IMAGE:
                self._heard[_name(metadata.urn)] = time.monotonic()
            kind = KINDS[metadata.type]
            self._record.began_step(_name(metadata.urn), f"{kind}: {words[0]}", kind)

    def _settled(self, metadata: StepEventMetadata) -> None:
        if metadata.type in ROLLOUTS:
            self.rolling.discard(_name(metadata.urn))
        if metadata.type == IMAGE:
            self._heard.pop(_name(metadata.urn), None)

    def _done(self, metadata: StepEventMetadata) -> None:
        self._settled(metadata)
        words = WORDS.get((metadata.type, operation_of(metadata.op)))
        if words:
            digest = str(((metadata.new and metadata.new.outputs) or {}).get("digest", ""))
            self._report.done(_name(metadata.urn), f"{words[1]} {digest[7:19]}".strip())
            kind = KINDS[metadata.type]
            if kind == "image":
                self._over.add(_name(metadata.urn))
                self._record.ended_build(_name(metadata.urn))
            self._record.ended_step(_name(metadata.urn), f"{kind}: {words[0]}", kind)

    def _told(self, urn: str, event: DiagnosticEvent) -> None:
        self._line(urn, event.message)
        if event.severity == "error":
            self.failures.take(_type(urn), _name(urn), mask(event.message), build_log(self._logs, _name(urn)))

    def _line(self, urn: str, message: str) -> None:
        service = _name(urn)
        text = mask(message.rstrip())
        if text and _type(urn) in ROLLOUTS:
            self._report.step(service, "rolling out", text.splitlines()[-1].strip(" \t*"))
        if not text or _type(urn) != "docker-build:index:Image":
            return
        if service in self._heard:
            self._heard[service] = time.monotonic()
        log = build_log(self._logs, service)
        with open_private(log, "a" if log in self._fresh else "w") as file:
            file.write(f"{text}\n")
        self._fresh.add(log)
        if service not in self._over:  # lines may come late
            for told in self._builds.setdefault(service, Plain(service)).feed(text):
                self._record.take(service, told)
        self._report.step(service, "building", text.splitlines()[-1])


def _name(urn: str) -> str:
    name = urn.rsplit("::", 1)[-1]
    return {"slipway:docker:Gateway": "gateway", "slipway:docker:Network": "network"}.get(_type(urn), name)


def _type(urn: str) -> str:
    return urn.split("::")[-2].rsplit("$", 1)[-1]
