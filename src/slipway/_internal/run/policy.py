"""Serves policies to Pulumi from this process, so that no second Python starts, and reports what they refuse."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slipway._internal.model.errors import GateRefused
from slipway._internal.model.package_data import package_path
from slipway._internal.run.policy_port import PORT

if TYPE_CHECKING:
    from pulumi.automation.events import PolicyEvent
    from pulumi_policy import Policy

PACK_FOLDER = package_path("_internal", "run", "pack")
"""The policy pack that Pulumi is given. Its program, pulumi-analyzer-policy-slipway, says where the policies answer."""
MANDATORY, REMEDY_PREFIX = "mandatory", "remedy: "
SERVER_THREADS = 4
MAX_MESSAGE_BYTES = 400 * 1024 * 1024  # Pulumi's own limit


@dataclass(frozen=True)
class PolicyServer:
    """What Pulumi has to be given for it to ask the policies: packs, and environment variables. Empty for none."""

    packs: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def serve_policies(policies: Sequence[Policy], environment: Mapping[str, str], folder: Path) -> Iterator[PolicyServer]:
    """Answer for these policies on a free port of this machine for the time of a `with`.

    Args:
        policies: what is asked of every resource; mandatory where a policy says nothing else.
        environment: Pulumi's; its PATH is added to.
        folder: where Pulumi runs. It is given the pack from there: a comma in the workspace's path would part it.
    """
    if not policies:
        yield PolicyServer()
        return
    import grpc
    from pulumi.runtime.proto import analyzer_pb2_grpc
    from pulumi_policy import EnforcementLevel
    from pulumi_policy.policy import _PolicyAnalyzerServicer  # PolicyPack itself never returns

    server = grpc.server(
        ThreadPoolExecutor(SERVER_THREADS, thread_name_prefix="policy"),
        options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)],
    )
    servicer = _PolicyAnalyzerServicer("rules", "1.0.0", list(policies), EnforcementLevel.MANDATORY)
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

    @property
    def summary(self) -> str:
        return f"{self.policy}: {self.what}"


class ViolationCollector:
    """Collects what policies have said to the engine; each thing once, however often it is said."""

    def __init__(self) -> None:
        self._violations: dict[PolicyViolation, None] = {}

    def record(self, event: PolicyEvent) -> None:
        """Remember what a policy refuses; what it only advises refuses nothing."""
        if event.enforcement_level == MANDATORY:
            self._violations[parse_violation(event)] = None

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


def format_advice(event: PolicyEvent) -> str:
    """Return the line for what a policy only advises; nothing where it refuses."""
    advice = parse_violation(event)
    return "" if event.enforcement_level == MANDATORY else f"Advice of {advice.summary} {advice.remedy}"


def parse_violation(event: PolicyEvent) -> PolicyViolation:
    """Return what a policy has said: its description in one line, then what is wrong, and a line with the remedy."""
    description, *lines = event.message.strip().splitlines()
    remedy = next((line.removeprefix(REMEDY_PREFIX) for line in lines if line.startswith(REMEDY_PREFIX)), "")
    what = "\n".join(line for line in lines if not line.startswith(REMEDY_PREFIX))
    kind, _, name = (event.resource_urn or "").rpartition("::")
    return PolicyViolation(
        policy=event.policy_name,
        resource=f"{name} ({kind.split('::')[-1].split('$')[-1]})" if name else "the stack",
        description=description,
        what=what or description,
        remedy=remedy or f"Fix that, or change the rule {event.policy_name} in infra/policy/.",
    )
