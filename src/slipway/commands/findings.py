"""What a scan's report says, and whether that may be released; nothing but the report and the settings decides.

The same verdict is reached when the image is scanned and, on the attested report, whenever it is deployed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from slipway.commands.trivy import Report
from slipway.model.errors import GateRefused
from slipway.model.gate import Scan, ScanException
from slipway.model.parsing import convert

Kind = Literal["vulnerability", "secret", "misconfiguration", "blind"]

SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")
SHOWN = 20
TITLE = 60
GRACE = timedelta(days=30)
"""How long the exception lasts that a refusal proposes."""

# What Trivy reports as success without having looked. They are findings, so that an exception can let them through.
PACKAGES_UNKNOWN = "packages-unknown"
SYSTEM_ENDED = "system-end-of-life"
DOCKERFILE_UNKNOWN = "dockerfile-unknown"


@dataclass(frozen=True)
class Finding:
    """One thing that the scan found.

    Attributes:
        kind: `blind` where the scanner could not judge a part of the image.
        id: a CVE, or the rule of a secret or a check.
        severity: one of SEVERITIES.
        package: where it is a vulnerability, with the installed and the fixed version (empty: none is fixed yet).
        target: the image, the file in it, or the Dockerfile.
        title: one line about it.
    """

    kind: Kind
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
class Verdict:
    """What the policy says: what refuses, what an exception lets through, and what one did until it ended."""

    refused: tuple[Finding, ...]
    let_through: tuple[tuple[Finding, ScanException], ...]
    expired: tuple[tuple[Finding, ScanException], ...]
    today: date

    @property
    def passed(self) -> bool:
        return not self.refused


def findings(report: Mapping[str, Any], *, dockerfile: bool = True) -> tuple[Finding, ...]:
    """Return all that a report of Trivy's holds, the worst first; that it holds no Dockerfile's only where asked for.

    Raises:
        GateRefused: it is no report of an image.
    """
    try:
        convert(report, Report)
        found = {*_blind(report, dockerfile), *(each for result in _results(report) for each in _of(result))}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise GateRefused(
            f"the scan's report is not one of an image: {error}",
            remedy="Run `invoke scan` again; if Trivy was updated, it must still write schema version 2.",
        ) from error
    return tuple(sorted(found, key=_order))


def verdict(scan: Scan, report: Mapping[str, Any], service: str, today: date, *, dockerfile: bool = True) -> Verdict:
    """Return what the policy says of a service's report on a day; an exception holds until its day has ended.

    Without `dockerfile` it may be the report of an image that was built elsewhere.

    Raises:
        GateRefused: it is no report of an image.
    """
    refused, let_through, expired = [], [], []
    for finding in findings(report, dockerfile=dockerfile):
        if finding.severity not in scan.refuse:
            continue
        if scan.ignore_unfixed and finding.kind == "vulnerability" and not finding.fixed:
            continue
        meant = [each for each in scan.exceptions if each.id == finding.id and _covers(each, service)]
        latest = max(meant, key=lambda each: each.until, default=None)
        if latest and today <= latest.until:
            let_through.append((finding, latest))
            continue
        refused.append(finding)
        if latest:
            expired.append((finding, latest))
    return Verdict(tuple(refused), tuple(let_through), tuple(expired), today)


def refusal(verdict: Verdict, service: str, files: Path | None = None) -> GateRefused:
    """Return the error that says what refuses a service, and what to do.

    Args:
        verdict: one that did not pass.
        service: its name.
        files: the folder with the scan's results, where they are on this machine.
    """
    return GateRefused(
        f"{service}: the scan refuses {_counted(verdict.refused)}",
        detail="\n".join([*_table(verdict.refused), *_ended(verdict)]),
        remedy=_remedy(verdict, service),
        log=files / "trivy.txt" if files else None,
    )


def _results(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if report["SchemaVersion"] != 2 or report["ArtifactType"] != "container_image":
        raise ValueError(f"{report['ArtifactType']}, schema version {report['SchemaVersion']}")
    return list(report.get("Results") or [])


def _of(result: Mapping[str, Any]) -> Iterator[Finding]:
    target = str(result["Target"])
    for each in result.get("Vulnerabilities") or []:
        yield Finding(
            "vulnerability",
            each["VulnerabilityID"],
            each.get("Severity") or "UNKNOWN",
            target,
            each.get("Title") or "",
            each["PkgName"],
            each.get("InstalledVersion") or "",
            each.get("FixedVersion") or "",
        )
    for each in result.get("Secrets") or []:
        line = f"{target}:{each['StartLine']}" if each.get("StartLine") else target
        yield Finding("secret", each["RuleID"], each.get("Severity") or "UNKNOWN", line, each.get("Title") or "")
    for each in result.get("Misconfigurations") or []:
        if each.get("Status", "FAIL") == "FAIL":
            start = each.get("CauseMetadata", {}).get("StartLine")
            line = f"{target}:{start}" if start else target
            title = each.get("Message") or each.get("Title") or ""
            yield Finding("misconfiguration", each["ID"], each.get("Severity") or "UNKNOWN", line, title)


def _blind(report: Mapping[str, Any], dockerfile: bool) -> Iterator[Finding]:
    """Yield what Trivy passes over in silence: an unknown system, one without packages, a Dockerfile it can't read."""
    results = _results(report)
    images = report.get("SlipwayPlatforms") or {"": report["Metadata"]}
    for platform, metadata in images.items():
        suffix = f" [{platform}]" if platform else ""
        mine = [each for each in results if str(each["Target"]).endswith(suffix)]
        yield from _blind_image(f"{report['ArtifactName']}{suffix}", metadata, mine)
    if dockerfile and not any(each.get("Class") == "config" and each.get("MisconfSummary") for each in results):
        yield Finding("blind", DOCKERFILE_UNKNOWN, "CRITICAL", "Dockerfile", "Trivy could not read the Dockerfile")


def _blind_image(image: str, metadata: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    if not metadata["ImageID"]:
        raise ValueError("it names no image")
    system = metadata.get("OS") or {}
    name = f"{system.get('Family', '')} {system.get('Name', '')}".strip()
    listed = {each.get("Class") for each in results if each.get("Packages")}
    if name and "os-pkgs" not in listed:
        title = f"{name}: its packages are not there, or Trivy does not know that system"
        yield Finding("blind", PACKAGES_UNKNOWN, "CRITICAL", image, title)
    elif not listed & {"os-pkgs", "lang-pkgs"}:
        title = "no system and no packages were found in it, so nothing was judged"
        yield Finding("blind", PACKAGES_UNKNOWN, "CRITICAL", image, title)
    if system.get("EOSL"):
        title = f"{name} gets no security updates any more, so no advisories tell what is wrong with it"
        yield Finding("blind", SYSTEM_ENDED, "HIGH", image, title)


def _order(finding: Finding) -> tuple[int, str, str, str, str]:
    rank = SEVERITIES.index(finding.severity) if finding.severity in SEVERITIES else len(SEVERITIES)
    return rank, finding.id, finding.package, finding.target, finding.installed


def _covers(exception: ScanException, service: str) -> bool:
    return not exception.services or service in exception.services


def _counted(refused: Sequence[Finding]) -> str:
    counts = Counter(each.severity for each in refused)
    told = ", ".join(f"{counts[each]} {each.lower()}" for each in SEVERITIES if counts[each])
    return f"{len(refused)} finding{'s' if len(refused) > 1 else ''} ({told})"


def _table(refused: Sequence[Finding]) -> list[str]:
    rows = [(each.id, each.severity, each.where, _cut(each.title)) for each in refused[:SHOWN]]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    more = len(refused) - SHOWN
    return [line.rstrip() for line in lines] + ([f"and {more} more"] if more > 0 else [])


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE else f"{line[: TITLE - 1]}…"


def _ended(verdict: Verdict) -> list[str]:
    ended = {exception for _, exception in verdict.expired}
    return [
        f"The exception for {each.id} ended on {each.until}; its reason was: {each.reason}"
        for each in sorted(ended, key=lambda each: each.id)
    ]


def _remedy(verdict: Verdict, service: str) -> str:
    refused = verdict.refused
    kinds = {each.kind for each in refused}
    advice = []
    if "vulnerability" in kinds:
        advice.append(
            "Update the package in the service's lock file, or rebuild the bases with the packages of today: "
            "`invoke setup --fresh`."
        )
    if "secret" in kinds:
        advice.append("Take the secret out of the image, make it a build secret, and revoke it: it was readable.")
    if "misconfiguration" in kinds:
        advice.append("Correct the Dockerfile.")
    if "blind" in kinds:
        advice.append("Start from a base whose system and packages Trivy knows.")
    until = verdict.today + GRACE
    snippet = [
        "[[scan.exceptions]]",
        f'id = "{refused[0].id}"',
        f"until = {until}",
        'reason = "…"',
        f'services = ["{service}"]',
    ]
    return "\n".join(
        [*advice, "Or let it through for a time, in workspace.toml:", *(f"    {line}" for line in snippet)]
    )
