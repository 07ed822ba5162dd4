"""Evaluates a scan's report against the scan policy: which findings refuse a release.

The same verdict is reached when the image is scanned and, on the attested report, whenever it is deployed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from slipway._internal.commands.trivy import ScanReport
from slipway._internal.model.errors import GateRefused
from slipway._internal.model.gate_settings import ScanException, ScanSettings
from slipway._internal.model.parsing import convert

FindingType = Literal["vulnerability", "secret", "misconfiguration", "blind"]

SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")
MAX_SHOWN_FINDINGS = 20
MAX_TITLE_CHARACTERS = 60
EXCEPTION_PERIOD = timedelta(days=30)
"""How long the exception lasts that a refusal proposes."""

# What Trivy reports as success without having looked. They are findings, so that an exception can let them through.
PACKAGES_UNKNOWN = "packages-unknown"
SYSTEM_END_OF_LIFE = "system-end-of-life"
DOCKERFILE_UNKNOWN = "dockerfile-unknown"


@dataclass(frozen=True)
class Finding:
    """One finding of a scan.

    Attributes:
        kind: `blind` where the scanner could not judge a part of the image.
        id: a CVE, or the rule of a secret or a check.
        severity: one of SEVERITIES.
        package: where it is a vulnerability, with the installed and the fixed version (empty: none is fixed yet).
        target: the image, the file in it, or the Dockerfile.
        title: one line about it.
    """

    kind: FindingType
    id: str
    severity: str
    target: str
    title: str
    package: str = ""
    installed: str = ""
    fixed: str = ""

    @property
    def where(self) -> str:
        if self.kind != "vulnerability":
            return self.target
        return f"{self.package} {self.installed} → {self.fixed or 'no fix yet'}"


@dataclass(frozen=True)
class ScanVerdict:
    """The verdict: findings that refuse, findings that an exception accepts, and exceptions that have ended."""

    refused: tuple[Finding, ...]
    let_through: tuple[tuple[Finding, ScanException], ...]
    expired: tuple[tuple[Finding, ScanException], ...]
    today: date

    @property
    def passed(self) -> bool:
        return not self.refused


def parse_findings(report: Mapping[str, Any], *, dockerfile: bool = True) -> tuple[Finding, ...]:
    """Return all that a report of Trivy's holds, the worst first; that it holds no Dockerfile's only where asked for.

    Raises:
        GateRefused: it is not a report of an image.
    """
    try:
        convert(report, ScanReport)
        found = {
            *_blind_findings(report, dockerfile),
            *(finding for result in _results(report) for finding in _result_findings(result)),
        }
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise GateRefused(
            f"the scan's report is not one of an image: {error}",
            remedy="Run `invoke scan` again; if Trivy was updated, it must still write schema version 2.",
        ) from error
    return tuple(sorted(found, key=_severity_order))


def evaluate_report(
    scan: ScanSettings, report: Mapping[str, Any], service: str, today: date, *, dockerfile: bool = True
) -> ScanVerdict:
    """Return what the policy says of a service's report on a day; an exception holds until its day has ended.

    Without `dockerfile` it may be the report of an image that was built elsewhere.

    Raises:
        GateRefused: it is not a report of an image.
    """
    refused, let_through, expired = [], [], []
    for finding in parse_findings(report, dockerfile=dockerfile):
        if finding.severity not in scan.refuse:
            continue
        if scan.ignore_unfixed and finding.kind == "vulnerability" and not finding.fixed:
            continue
        exceptions = [
            exception for exception in scan.exceptions if exception.id == finding.id and _covers(exception, service)
        ]
        latest = max(exceptions, key=lambda exception: exception.until, default=None)
        if latest and today <= latest.until:
            let_through.append((finding, latest))
            continue
        refused.append(finding)
        if latest:
            expired.append((finding, latest))
    return ScanVerdict(tuple(refused), tuple(let_through), tuple(expired), today)


def refusal_error(verdict: ScanVerdict, service: str, files: Path | None = None) -> GateRefused:
    """Return the error that says what refuses a service, and what to do.

    Args:
        verdict: one that did not pass.
        service: its name.
        files: the folder with the scan's results, where they are on this machine.
    """
    return GateRefused(
        f"{service}: the scan refuses {_count_by_severity(verdict.refused)}",
        detail="\n".join([*_format_table(verdict.refused), *_describe_expired(verdict)]),
        remedy=_remedy(verdict, service),
        log=files / "trivy.txt" if files else None,
    )


def _results(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if report["SchemaVersion"] != 2 or report["ArtifactType"] != "container_image":
        raise ValueError(f"{report['ArtifactType']}, schema version {report['SchemaVersion']}")
    return list(report.get("Results") or [])


def _result_findings(result: Mapping[str, Any]) -> Iterator[Finding]:
    target = str(result["Target"])
    for entry in result.get("Vulnerabilities") or []:
        yield Finding(
            "vulnerability",
            entry["VulnerabilityID"],
            entry.get("Severity") or "UNKNOWN",
            target,
            entry.get("Title") or "",
            entry["PkgName"],
            entry.get("InstalledVersion") or "",
            entry.get("FixedVersion") or "",
        )
    for entry in result.get("Secrets") or []:
        line = f"{target}:{entry['StartLine']}" if entry.get("StartLine") else target
        yield Finding("secret", entry["RuleID"], entry.get("Severity") or "UNKNOWN", line, entry.get("Title") or "")
    for entry in result.get("Misconfigurations") or []:
        if entry.get("Status", "FAIL") == "FAIL":
            start = entry.get("CauseMetadata", {}).get("StartLine")
            line = f"{target}:{start}" if start else target
            title = entry.get("Message") or entry.get("Title") or ""
            yield Finding("misconfiguration", entry["ID"], entry.get("Severity") or "UNKNOWN", line, title)


def _blind_findings(report: Mapping[str, Any], dockerfile: bool) -> Iterator[Finding]:
    """Yield what Trivy silently skips: an unknown system, one without packages, a Dockerfile it can't read."""
    results = _results(report)
    images = report.get("SlipwayPlatforms") or {"": report["Metadata"]}
    for platform, metadata in images.items():
        suffix = f" [{platform}]" if platform else ""
        platform_results = [result for result in results if str(result["Target"]).endswith(suffix)]
        yield from _blind_image_findings(f"{report['ArtifactName']}{suffix}", metadata, platform_results)
    if dockerfile and not any(result.get("Class") == "config" and result.get("MisconfSummary") for result in results):
        yield Finding("blind", DOCKERFILE_UNKNOWN, "CRITICAL", "Dockerfile", "Trivy could not read the Dockerfile")


def _blind_image_findings(
    image: str, metadata: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> Iterator[Finding]:
    if not metadata["ImageID"]:
        raise ValueError("it names no image")
    system = metadata.get("OS") or {}
    name = f"{system.get('Family', '')} {system.get('Name', '')}".strip()
    package_classes = {result.get("Class") for result in results if result.get("Packages")}
    if name and "os-pkgs" not in package_classes:
        title = f"{name}: its packages are missing, or Trivy does not know that system"
        yield Finding("blind", PACKAGES_UNKNOWN, "CRITICAL", image, title)
    elif not package_classes & {"os-pkgs", "lang-pkgs"}:
        title = "no system and no packages were found in it, so nothing was scanned"
        yield Finding("blind", PACKAGES_UNKNOWN, "CRITICAL", image, title)
    if system.get("EOSL"):
        title = f"{name} no longer gets security updates, so no advisory covers its vulnerabilities"
        yield Finding("blind", SYSTEM_END_OF_LIFE, "HIGH", image, title)


def _severity_order(finding: Finding) -> tuple[int, str, str, str, str]:
    rank = SEVERITIES.index(finding.severity) if finding.severity in SEVERITIES else len(SEVERITIES)
    return rank, finding.id, finding.package, finding.target, finding.installed


def _covers(exception: ScanException, service: str) -> bool:
    return not exception.services or service in exception.services


def _count_by_severity(refused: Sequence[Finding]) -> str:
    counts = Counter(item.severity for item in refused)
    summary = ", ".join(f"{counts[item]} {item.lower()}" for item in SEVERITIES if counts[item])
    return f"{len(refused)} finding{'s' if len(refused) > 1 else ''} ({summary})"


def _format_table(refused: Sequence[Finding]) -> list[str]:
    rows = [
        (finding.id, finding.severity, finding.where, _truncate(finding.title))
        for finding in refused[:MAX_SHOWN_FINDINGS]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    hidden = len(refused) - MAX_SHOWN_FINDINGS
    return [line.rstrip() for line in lines] + ([f"and {hidden} more"] if hidden > 0 else [])


def _truncate(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_TITLE_CHARACTERS else f"{line[: MAX_TITLE_CHARACTERS - 1]}…"


def _describe_expired(verdict: ScanVerdict) -> list[str]:
    expired = {exception for _, exception in verdict.expired}
    return [
        f"The exception for {scan_exception.id} ended on {scan_exception.until}; its reason was: "
        f"{scan_exception.reason}"
        for scan_exception in sorted(expired, key=lambda scan_exception: scan_exception.id)
    ]


def _remedy(verdict: ScanVerdict, service: str) -> str:
    refused = verdict.refused
    kinds = {finding.kind for finding in refused}
    advice = []
    if "vulnerability" in kinds:
        advice.append(
            "Update the package in the service's lock file, or rebuild the bases with the packages of today: "
            "`invoke setup --fresh`."
        )
    if "secret" in kinds:
        advice.append(
            "Remove the secret from the image, make it a build secret, and revoke it, because it was readable."
        )
    if "misconfiguration" in kinds:
        advice.append("Correct the Dockerfile.")
    if "blind" in kinds:
        advice.append("Start from a base whose system and packages Trivy knows.")
    until = verdict.today + EXCEPTION_PERIOD
    snippet = [
        "[[scan.exceptions]]",
        f'id = "{refused[0].id}"',
        f"until = {until}",
        'reason = "…"',
        f'services = ["{service}"]',
    ]
    return "\n".join([*advice, "Or accept it for a time, in workspace.toml:", *(f"    {line}" for line in snippet)])
