"""Serves policies to Pulumi from this process, so that no second Python starts, and reports what they refuse."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway._internal.model.errors import GateRefused
from slipway._internal.model.package_data import package_path
from slipway._internal.run.policy_port import PORT

if TYPE_CHECKING:
    from pulumi.automation.events import PolicyEvent
    from pulumi_policy import Policy

PACK_FOLDER = package_path("_internal", "run", "pack")
"""The policy pack that Pulumi is given. Its program, pulumi-analyzer-policy-slipway, says where the policies answer."""
MANDATORY = "mandatory"
SERVER_THREADS = 4
MAX_MESSAGE_BYTES = 400 * 1024 * 1024  # Pulumi's own limit


@dataclass(frozen=True)
class PolicyServer:
    """What Pulumi has to be given for it to ask the policies: packs, and environment variables. Empty for none."""

    packs: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)


class ViolationText(str):
    """What a policy reports: a text to Pulumi, which knows no more, and what it is made of to who runs in this process.

    So plain `pulumi up` shows the remedy in a line of its own, and nobody has to find it there again.
    """

    what: str
    remedy: str

    def __new__(cls, what: str, remedy: str) -> ViolationText:
        text = super().__new__(cls, f"{what}\nremedy: {remedy}")
        text.what, text.remedy = what, remedy
        return text


@dataclass(frozen=True)
class Report:
    """What a policy has reported: its own sentence, what is wrong, and the remedy, if it says one."""

    description: str
    what: str
    remedy: str = ""


class PolicyReports:
    """What the policies that this process serves have reported, by policy and by the text that the engine is sent."""

    def __init__(self) -> None:
        self._reports: dict[tuple[str, str], Report] = {}

    def add(self, policy: str, sent: str, description: str, message: str) -> None:
        """Remember what a policy has reported; `sent` is the text that the engine gets of it."""
        what, remedy = (message.what, message.remedy) if isinstance(message, ViolationText) else (message, "")
        self._reports[policy, sent.strip()] = Report(description, what or description, remedy)

    def violation(self, event: PolicyEvent) -> PolicyViolation:
        """Return what an event of the engine is about; what another process has reported is its text alone."""
        text = event.message.strip()
        report = self._reports.get((event.policy_name, text)) or Report("", text)
        kind, _, name = (event.resource_urn or "").rpartition("::")
        return PolicyViolation(
            policy=event.policy_name,
            resource=f"{name} ({kind.split('::')[-1].split('$')[-1]})" if name else "the stack",
            description=report.description,
            what=report.what,
            remedy=report.remedy or f"Fix that, or change the rule {event.policy_name} in infra/policy/.",
            mandatory=event.enforcement_level == MANDATORY,
        )


@contextmanager
def serve_policies(
    policies: Sequence[Policy], environment: Mapping[str, str], folder: Path, reports: PolicyReports
) -> Iterator[PolicyServer]:
    """Answer for these policies on a free port of this machine for the time of a `with`.

    Args:
        policies: what is asked of every resource; mandatory where a policy says nothing else.
        environment: Pulumi's; its PATH is added to.
        folder: where Pulumi runs. It is given the pack from there: a comma in the workspace's path would part it.
        reports: gets what the policies report.
    """
    if not policies:
        yield PolicyServer()
        return
    import grpc
    from pulumi.runtime.proto import analyzer_pb2_grpc
    from pulumi_policy import EnforcementLevel
    from pulumi_policy.policy import _PolicyAnalyzerServicer  # PolicyPack itself never returns

    class Analyzer(_PolicyAnalyzerServicer):
        """Pulumi's own, which also keeps what is reported as it is: the engine passes on a text."""

        def _create_report_violation(self, response: Any, policy: str, description: str, *level: Any) -> Any:
            report = super()._create_report_violation(response, policy, description, *level)

            def report_and_keep(message: str, urn: str | None = None) -> None:
                report(message, urn)
                reports.add(policy, response.diagnostics[-1].message, description, message)

            return report_and_keep

    server = grpc.server(
        ThreadPoolExecutor(SERVER_THREADS, thread_name_prefix="policy"),
        options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)],
    )
    servicer = Analyzer("rules", "1.0.0", list(policies), EnforcementLevel.MANDATORY)
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    scripts = Path(sys.executable).parent
    path = environment.get("PATH") or os.environ.get("PATH", os.defpath)
    pack = os.path.relpath(PACK_FOLDER, folder)
    try:
        yield PolicyServer([pack], {PORT: str(port), "PATH": f"{scripts}{os.pathsep}{path}"})
    finally:
        server.stop(grace=None)


@dataclass(frozen=True)
class PolicyViolation:
    """What a policy has said about a resource: the policy's own sentence, what is wrong, and the remedy."""

    policy: str
    resource: str
    description: str
    what: str
    remedy: str
    mandatory: bool

    @property
    def summary(self) -> str:
        return f"{self.policy}: {self.what}"

    @property
    def advice(self) -> str:
        """The line for what a policy only advises; nothing where it refuses."""
        return "" if self.mandatory else f"Advice of {self.summary} {self.remedy}"


class ViolationCollector:
    """Collects what policies refuse; each thing once, however often it is said."""

    def __init__(self) -> None:
        self._violations: dict[PolicyViolation, None] = {}

    def record(self, violation: PolicyViolation) -> None:
        """Remember what a policy refuses; what it only advises refuses nothing."""
        if violation.mandatory:
            self._violations[violation] = None

    def refusal(self) -> GateRefused | None:
        """Return the error that tells of them all; None where nothing is refused."""
        if not self._violations:
            return None
        first, *others = self._violations
        return GateRefused(
            first.summary,
            remedy=first.remedy,
            detail="\n".join(
                [
                    f"{first.resource}: {first.description}",
                    *(line for other in others for line in (f"Also {other.summary}", f"  remedy: {other.remedy}")),
                ]
            ),
        )
