"""What policies say to the engine becomes one error; they are asked over a port of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from pulumi_policy import ReportViolation, ResourceValidationArgs, ResourceValidationPolicy
from tests.conftest import PYTHONPATH, TEMPLATE

from slipway._internal.run.policy import (
    PACK_FOLDER,
    PolicyReports,
    PolicyViolation,
    ViolationCollector,
    ViolationText,
    serve_policies,
)
from slipway._internal.run.policy_port import PORT

URN = "urn:pulumi:dev::shop::slipway:docker:Container::api"


DESCRIPTION = "Every container has limits."


def event(what: str, *, policy: str = "limits-set", level: str = "mandatory") -> Any:
    """What the engine makes of a report: a text, and a line's end."""
    message = f"{DESCRIPTION}\n{what}\n"
    return SimpleNamespace(message=message, policy_name=policy, enforcement_level=level, resource_urn=URN)


def violation(report: str, *, policy: str = "limits-set", level: str = "mandatory") -> PolicyViolation:
    """What is known of a report that this process's policy made, when the engine passes it on."""
    reports = PolicyReports()
    reports.add(policy, f"{DESCRIPTION}\n{report}", DESCRIPTION, report)
    return reports.violation(event(report, policy=policy, level=level))


def test_a_refusal_names_rule_resource_what_and_remedy() -> None:
    found = ViolationCollector()
    assert found.refusal() is None
    found.record(violation(ViolationText("api has no limit", "Give it one.")))
    found.record(violation(ViolationText("api has no limit", "Give it one.")))
    error = found.refusal()
    assert error and error.exit_code == 3
    assert (error.message, error.remedy) == ("limits-set: api has no limit", "Give it one.")
    assert error.detail == "api (slipway:docker:Container): Every container has limits."


def test_all_that_is_refused_stands_in_the_error() -> None:
    found = ViolationCollector()
    found.record(violation(ViolationText("api has no limit", "Give it one.")))
    found.record(violation("api runs api:1", policy="digest-only"))
    error = found.refusal()
    assert error and "Also digest-only: api runs api:1" in error.detail
    assert "infra/policy/" in error.detail, "a policy that says no remedy is found where the rules are"


def test_advice_refuses_nothing_and_is_said() -> None:
    found = ViolationCollector()
    advice = violation(ViolationText("api could be smaller", "Try 64m."), level="advisory")
    found.record(advice)
    assert found.refusal() is None
    assert advice.advice == "Advice of limits-set: api could be smaller Try 64m."
    assert violation("api has no limit").advice == ""


def test_a_report_reads_well_as_the_text_that_plain_pulumi_shows() -> None:
    assert ViolationText("api has no limit", "Give it one.") == "api has no limit\nremedy: Give it one."


def test_a_remedy_is_no_line_that_looks_like_one() -> None:
    odd = violation(ViolationText("api says\nremedy: none", "Give it one."))
    assert (odd.what, odd.remedy) == ("api says\nremedy: none", "Give it one.")


def test_what_another_process_reported_is_refused_with_its_whole_text() -> None:
    found = ViolationCollector()
    found.record(PolicyReports().violation(event("api is odd")))
    error = found.refusal()
    assert error and error.message == f"limits-set: {DESCRIPTION}\napi is odd"


def test_policies_are_asked_at_the_port_that_the_pack_prints() -> None:
    infra = TEMPLATE / "infra"

    def refuse(given: ResourceValidationArgs, report: ReportViolation) -> None:
        if given.props["size"] > 1:
            report(ViolationText(f"{given.name} is too large", "Make it small."), None)

    policy = ResourceValidationPolicy("size", "Nothing is large.", refuse)
    reports = PolicyReports()
    with serve_policies([policy], {"PATH": os.environ["PATH"]}, infra, reports) as given:
        assert [(infra / each).resolve() for each in given.packs] == [PACK_FOLDER]
        assert not Path(given.packs[0]).is_absolute()
        assert given.environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
        program = [sys.executable, "-m", "slipway._internal.run.policy_port", "127.0.0.1:1", "."]
        printed = subprocess.check_output(program, env={**given.environment, "PYTHONPATH": PYTHONPATH}, text=True)
        assert printed.strip() == given.environment[PORT]
        with grpc.insecure_channel(f"127.0.0.1:{printed.strip()}") as channel:
            stub = analyzer_pb2_grpc.AnalyzerStub(channel)
            info = stub.GetAnalyzerInfo(empty_pb2.Empty(), timeout=10)
            assert [each.name for each in info.policies] == ["size"]
            props = struct_pb2.Struct()
            props["size"] = 2
            asked = analyzer_pb2.AnalyzeRequest(type="a:b:C", urn=URN, name="api", properties=props)
            (said,) = stub.Analyze(asked, timeout=10).diagnostics
    assert said.message == "Nothing is large.\napi is too large\nremedy: Make it small."
    passed_on = SimpleNamespace(
        message=f"{said.message}\n", policy_name=said.policyName, enforcement_level="mandatory", resource_urn=URN
    )
    kept = reports.violation(passed_on)
    assert (kept.description, kept.what) == ("Nothing is large.", "api is too large")
    assert kept.remedy == "Make it small.", "the engine carries a text; the object is had from the policy itself"
    assert said.enforcementLevel == analyzer_pb2.MANDATORY


def test_without_policies_pulumi_is_given_no_pack() -> None:
    with serve_policies([], {}, TEMPLATE, PolicyReports()) as given:
        assert given.packs == [] and given.environment == {}


def test_the_pack_says_nothing_to_a_pulumi_that_nobody_serves() -> None:
    bare = {key: value for key, value in os.environ.items() if key != PORT}
    program = [sys.executable, "-m", "slipway._internal.run.policy_port"]
    ran = subprocess.run(program, env={**bare, "PYTHONPATH": PYTHONPATH}, capture_output=True, check=False)
    assert ran.returncode != 0 and ran.stdout == b""
