"""The policy: what of a report refuses, what an exception lets through, and what the refusal says."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from slipway._internal.commands.findings import Finding, ScanVerdict, evaluate_report, parse_findings, refusal_error
from slipway._internal.model.errors import GateRefused
from slipway._internal.model.gate_settings import ScanException, ScanSettings

TODAY = date(2026, 6, 1)
DOCKERFILE = {
    "Target": "services/api/Dockerfile",
    "Class": "config",
    "Type": "dockerfile",
    "MisconfSummary": {"Successes": 27},
}
LOCKED_OUT = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")


def vulnerability(id: str = "CVE-1", severity: str = "HIGH", fixed: str = "2.0", **more: str) -> dict[str, Any]:
    return {
        "VulnerabilityID": id,
        "PkgName": "zlib",
        "InstalledVersion": "1.0",
        "FixedVersion": fixed,
        "Severity": severity,
        "Title": "inflate reads too far",
        **more,
    }


def report(*results: dict[str, Any], os: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    system = {"Target": "api (debian 13)", "Class": "os-pkgs", "Packages": [{"Name": "zlib"}]}
    return {
        "SchemaVersion": 2,
        "ArtifactName": "api",
        "ArtifactType": "container_image",
        "Metadata": {"ImageID": "sha256:1", "OS": os or {"Family": "debian", "Name": "13"}},
        "Results": [system, *results, DOCKERFILE],
        **more,
    }


def of(*vulnerabilities: dict[str, Any]) -> dict[str, Any]:
    return report({"Target": "api (debian 13)", "Class": "os-pkgs", "Vulnerabilities": list(vulnerabilities)})


def judge(report: dict[str, Any], service: str = "api", today: date = TODAY, **policy: Any) -> ScanVerdict:
    return evaluate_report(ScanSettings(**policy), report, service, today)


def ids(verdict: ScanVerdict) -> list[str]:
    return [each.id for each in verdict.refused]


def test_findings_of_every_kind_are_read_the_worst_first() -> None:
    found = parse_findings(
        report(
            {"Target": "api (debian 13)", "Vulnerabilities": [vulnerability(), vulnerability("CVE-0", "LOW", "")]},
            {
                "Target": "/app/.env",
                "Secrets": [{"RuleID": "github-pat", "Severity": "CRITICAL", "Title": "GitHub token", "StartLine": 3}],
            },
            {
                "Target": "services/api/Dockerfile",
                "Misconfigurations": [
                    {"ID": "DS-0002", "Severity": "HIGH", "Title": "user", "Message": "Say USER", "Status": "FAIL"},
                    {"ID": "DS-0001", "Severity": "HIGH", "Title": "tag", "Status": "PASS"},
                ],
            },
        )
    )
    assert found == (
        Finding("secret", "github-pat", "CRITICAL", "/app/.env:3", "GitHub token"),
        Finding("vulnerability", "CVE-1", "HIGH", "api (debian 13)", "inflate reads too far", "zlib", "1.0", "2.0"),
        Finding("misconfiguration", "DS-0002", "HIGH", "services/api/Dockerfile", "Say USER"),
        Finding("vulnerability", "CVE-0", "LOW", "api (debian 13)", "inflate reads too far", "zlib", "1.0", ""),
    )


def test_the_severities_of_the_policy_refuse() -> None:
    found = of(*(vulnerability(f"CVE-{each}", each) for each in LOCKED_OUT))
    assert ids(judge(found)) == ["CVE-CRITICAL", "CVE-HIGH"]
    assert ids(judge(found, refuse=("LOW",))) == ["CVE-LOW"]
    assert judge(found, refuse=()).passed
    assert ids(judge(of(vulnerability(severity="")), refuse=("UNKNOWN",))) == ["CVE-1"]


def test_only_of_vulnerabilities_is_asked_whether_there_is_a_fix() -> None:
    found = report(
        {"Target": "a", "Vulnerabilities": [vulnerability(fixed="")]},
        {"Target": "b", "Secrets": [{"RuleID": "key", "Severity": "HIGH"}]},
        {"Target": "c", "Misconfigurations": [{"ID": "DS-1", "Severity": "HIGH"}]},
    )
    assert ids(judge(found)) == ["DS-1", "key"]
    assert ids(judge(found, ignore_unfixed=False)) == ["CVE-1", "DS-1", "key"]


@pytest.mark.parametrize(
    ("today", "service", "services", "passed"),
    [
        (date(2026, 5, 31), "api", (), True),
        (date(2026, 6, 1), "api", (), True),
        (date(2026, 6, 2), "api", (), False),
        (date(2026, 6, 1), "api", ("web", "api"), True),
        (date(2026, 6, 1), "api", ("web",), False),
    ],
    ids=["before", "its last day", "after", "of this service", "of another service"],
)
def test_an_exception_holds_for_its_services_until_its_day_has_ended(
    today: date, service: str, services: tuple[str, ...], passed: bool
) -> None:
    exception = ScanException("CVE-1", TODAY, "why", services)
    assert judge(of(vulnerability()), service, today, exceptions=(exception,)).passed is passed


def test_an_exception_for_something_else_lets_nothing_through() -> None:
    assert ids(judge(of(vulnerability()), exceptions=(ScanException("CVE-10", TODAY, "why"),))) == ["CVE-1"]


def test_the_exception_that_holds_longest_counts() -> None:
    old, new = ScanException("CVE-1", date(2026, 1, 1), "old"), ScanException("CVE-1", date(2026, 7, 1), "new")
    found = judge(of(vulnerability()), exceptions=(new, old))
    assert [exception for _, exception in found.let_through] == [new]
    assert found.expired == ()


def test_an_expired_exception_refuses_and_is_named_with_its_reason() -> None:
    old = ScanException("CVE-1", date(2026, 5, 1), "no input reaches it")
    found = judge(of(vulnerability()), exceptions=(old,))
    assert ids(found) == ["CVE-1"]
    assert [exception for _, exception in found.expired] == [old]
    text = refusal_error(found, "api").detail
    assert text.count("The exception for CVE-1 ended on 2026-05-01; its reason was: no input reaches it") == 1


@pytest.mark.parametrize(
    ("wrong", "id"),
    [
        (report(os={"Family": "fedora", "Name": "43"}, Results=[DOCKERFILE]), "packages-unknown"),
        (report(Results=[{"Target": "x", "Class": "os-pkgs"}, DOCKERFILE]), "packages-unknown"),
        (report(Metadata={"ImageID": "sha256:1"}, Results=[DOCKERFILE]), "packages-unknown"),
        (report(os={"Family": "debian", "Name": "9", "EOSL": True}), "system-end-of-life"),
        (report(Results=report()["Results"][:1]), "dockerfile-unknown"),
    ],
    ids=["unknown system", "no packages", "nothing", "ended system", "no Dockerfile"],
)
def test_what_trivy_has_not_looked_at_refuses(wrong: dict[str, Any], id: str) -> None:
    assert ids(judge(wrong)) == [id]
    assert judge(wrong, exceptions=(ScanException(id, TODAY, "known"),)).passed


def test_an_image_of_nothing_but_a_program_whose_packages_are_known_passes() -> None:
    program = {"Target": "app", "Class": "lang-pkgs", "Type": "gobinary", "Packages": [{"Name": "x"}]}
    assert judge(report(Metadata={"ImageID": "sha256:1"}, Results=[program, DOCKERFILE])).passed


def test_each_platform_has_to_be_known() -> None:
    one = {"Target": "api (debian 13) [linux/amd64]", "Class": "os-pkgs", "Packages": [{"Name": "zlib"}]}
    system = {"ImageID": "sha256:1", "OS": {"Family": "debian", "Name": "13"}}
    platforms = {"linux/amd64": system, "linux/arm64": system}
    found = judge(report(Results=[one, DOCKERFILE], SlipwayPlatforms=platforms))
    assert [(each.id, each.target) for each in found.refused] == [("packages-unknown", "api [linux/arm64]")]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"SchemaVersion": 2},
        report(SchemaVersion=1),
        report(ArtifactType="filesystem"),
        report(Metadata={}),
        report(Metadata={"ImageID": ""}),
        report({"Target": "x", "Vulnerabilities": [{}]}),
        report(Results="none"),
    ],
)
def test_what_is_no_report_of_an_image_never_passes(wrong: dict[str, Any]) -> None:
    with pytest.raises(GateRefused) as caught:
        judge(wrong)
    assert caught.value.remedy


def test_a_refusal_says_what_is_wrong_and_proposes_an_exception_that_can_be_pasted() -> None:
    found = judge(of(vulnerability(), vulnerability("CVE-22", "CRITICAL", Title="a" * 90)))
    error = refusal_error(found, "api", Path("/gate"))
    assert error.exit_code == 3
    assert error.message == "api: the scan refuses 2 findings (1 critical, 1 high)"
    assert error.detail.splitlines() == [
        f"CVE-22  CRITICAL  zlib 1.0 → 2.0  {'a' * 59}…",
        "CVE-1   HIGH      zlib 1.0 → 2.0  inflate reads too far",
    ]
    assert "invoke setup --fresh" in error.remedy
    assert error.log == Path("/gate/trivy.txt")
    pasted = tomllib.loads("\n".join(error.remedy.splitlines()[-5:]))["scan"]["exceptions"][0]
    exception = msgspec.convert(pasted, ScanException)
    assert (exception.id, exception.until, exception.services) == ("CVE-22", date(2026, 7, 1), ("api",))


def test_a_refusal_names_the_remedy_of_each_kind_of_finding() -> None:
    found = report(
        {"Target": "b", "Secrets": [{"RuleID": "key", "Severity": "HIGH"}]},
        {"Target": "c", "Misconfigurations": [{"ID": "DS-1", "Severity": "HIGH"}]},
    )
    remedy = refusal_error(judge(found), "api").remedy
    assert "revoke it" in remedy
    assert "Correct the Dockerfile" in remedy
    assert "--fresh" not in remedy


def test_a_long_list_is_cut_and_counted() -> None:
    error = refusal_error(judge(of(*(vulnerability(f"CVE-{each:02}") for each in range(30)))), "api")
    assert error.detail.splitlines()[-1] == "and 10 more"
    assert len(error.detail.splitlines()) == 21
