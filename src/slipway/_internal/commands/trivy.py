"""Commands for Trivy, and what is made of its reports; nothing here runs anything.

Trivy takes settings from its folder (`trivy.yaml`, `.trivyignore`), from `TRIVY_…` variables, and from comments in a
Dockerfile. None of them may decide over a release: it runs in an empty folder, with those variables blanked, on a
Dockerfile without such comments. What is let through stands in workspace.toml, with a date and a reason.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from slipway._internal.model.parsing import JsonObject

SbomFormat = Literal["cyclonedx", "spdx-json"]
ReportFormat = Literal["table", "sarif"]


class _ReportPart(msgspec.Struct, frozen=True, rename="pascal"):
    """A part of a report; what is not named here may be anything."""


class Vulnerability(_ReportPart, frozen=True):
    vulnerability_id: str = msgspec.field(name="VulnerabilityID")
    pkg_name: str
    severity: str | None = None
    title: str | None = None
    installed_version: str | None = None
    fixed_version: str | None = None


class SecretFinding(_ReportPart, frozen=True):
    rule_id: str = msgspec.field(name="RuleID")
    severity: str | None = None
    title: str | None = None
    start_line: int | None = None


class MisconfigurationCause(_ReportPart, frozen=True):
    start_line: int | None = None


class Misconfiguration(_ReportPart, frozen=True):
    id: str = msgspec.field(name="ID")
    status: str = "FAIL"
    severity: str | None = None
    title: str | None = None
    message: str | None = None
    cause_metadata: MisconfigurationCause = MisconfigurationCause()


class ScanResult(_ReportPart, frozen=True):
    """What was found in one target of a report."""

    target: str
    kind: str | None = msgspec.field(name="Class", default=None)
    packages: list[dict[str, Any]] | None = None
    vulnerabilities: list[Vulnerability] | None = None
    secrets: list[SecretFinding] | None = None
    misconfigurations: list[Misconfiguration] | None = None


class ScanReport(_ReportPart, frozen=True):
    """The form that a report has: what reads one as plain data relies on it."""

    artifact_name: str = ""
    metadata: dict[str, Any] | None = None
    trivy: dict[str, Any] = {}
    results: list[ScanResult] | None = None
    slipway_platforms: dict[str, dict[str, Any]] | None = None


class _Dependency(msgspec.Struct, frozen=True):
    ref: str
    depends_on: list[str] | None = msgspec.field(name="dependsOn", default=None)


class _IdentifiedEntry(msgspec.Struct, frozen=True):
    """An entry of a list of packages: by one of these it is told from others."""

    bom_ref: str | None = msgspec.field(name="bom-ref", default=None)
    spdx_id: str | None = msgspec.field(name="SPDXID", default=None)
    license_id: str | None = msgspec.field(name="licenseId", default=None)
    element: str | None = msgspec.field(name="spdxElementId", default=None)
    related: str | None = msgspec.field(name="relatedSpdxElement", default=None)
    relationship: str | None = msgspec.field(name="relationshipType", default=None)


class _Metadata(msgspec.Struct, frozen=True):
    component: _IdentifiedEntry | None = None


class SbomDocument(msgspec.Struct, frozen=True):
    """The form that a list of packages has, in CycloneDX or in SPDX."""

    metadata: _Metadata | None = None
    components: list[_IdentifiedEntry] | None = None
    dependencies: list[_Dependency] | None = None
    packages: list[_IdentifiedEntry] | None = None
    files: list[_IdentifiedEntry] | None = None
    licenses: list[_IdentifiedEntry] | None = msgspec.field(name="hasExtractedLicensingInfos", default=None)
    relationships: list[_IdentifiedEntry] | None = None


SCANNER_URI = "https://github.com/aquasecurity/trivy"
DEFAULT_DATABASE = "mirror.gcr.io/aquasec/trivy-db:2"
"""Where Trivy gets its vulnerability database from when nobody names another place."""

SCANNERS = ("vuln", "secret")
ALLOWED_VARIABLES = frozenset(
    {"TRIVY_CACERT", "TRIVY_JAVA_DB_REPOSITORY", "TRIVY_PASSWORD", "TRIVY_REGISTRY_TOKEN", "TRIVY_USERNAME"}
)
"""The only variables of Trivy's that it is given: they say where and how to download, not what to find."""

DATABASE_HEAD_BYTES = 1 << 18
"""How much of the vulnerability database tells whether the rest is there."""

# A bbolt file's first two pages, behind a header each, say that it is one, and how many pages of what size it has.
_PAGE_HEADER, _META, _MAGIC = 16, struct.Struct("<IIII8xQQQQ"), 0xED0CDAED
_IGNORE_COMMENT = re.compile(r"\b(trivy|tfsec):(?=\S*ignore)")
_QUIET_FLAGS = ("--skip-version-check", "--disable-telemetry")


def scan_image(trivy: Path, layout: str, output: Path, cache: Path, seconds: int) -> list[str]:
    """Return the command that looks for vulnerabilities and secrets in an image, and lists its packages.

    The cache of layers is in memory: the one on disk can be used by a single process at a time. The vulnerability
    database is only read, by as many as want to.

    Args:
        trivy: the binary.
        layout: an OCI layout's folder, as a name in the folder it runs in: Trivy takes what follows an `@` or `:` of
        a path for a tag, and writes the name into the report.
        output: gets the report as JSON.
        cache: Trivy's cache folder, with the vulnerability database.
        seconds: when Trivy gives up.
    """
    return [
        *_image_argv(trivy, layout, cache, output, seconds),
        "--format=json",
        "--list-all-pkgs",
        f"--scanners={','.join(SCANNERS)}",
        "--image-config-scanners=secret",
        "--cache-backend=memory",
    ]


def make_sbom(trivy: Path, layout: str, kind: SbomFormat, output: Path, cache: Path, seconds: int) -> list[str]:
    """Return the command that lists an image's packages; the vulnerability database is not needed.

    The second list of the same image with the same cache costs a sixth of the first: the cache holds what was read.
    It must not be the cache of another process.
    """
    return [*_image_argv(trivy, layout, cache, output, seconds), f"--format={kind}", "--cache-backend=fs"]


def scan_dockerfiles(trivy: Path, output: Path, cache: Path, seconds: int) -> list[str]:
    """Return the command that checks all Dockerfiles in the current folder with Trivy's built-in checks.

    Args:
        trivy: the binary.
        output: gets the report as JSON.
        cache: an empty folder: checks that were downloaded into the real one would differ from machine to machine.
        seconds: when Trivy gives up.
    """
    return [
        *(str(trivy), "config", "--format=json", "--misconfig-scanners=dockerfile", "--skip-check-update"),
        *("--skip-version-check", f"--cache-dir={cache}", f"--timeout={seconds}s", f"--output={output}", "."),
    ]


def convert_report(trivy: Path, report: Path, kind: ReportFormat, output: Path) -> list[str]:
    """Return the command that writes a JSON report in another form."""
    scanner_flags = [f"--scanners={','.join((*SCANNERS, 'misconfig'))}"] if kind == "table" else []
    return [str(trivy), "convert", "--quiet", f"--format={kind}", *scanner_flags, f"--output={output}", str(report)]


def download_database(trivy: Path, cache: Path, repository: str | None, seconds: int) -> list[str]:
    """Return the command that downloads the vulnerability database, from Trivy's own places or a mirror."""
    return [
        *(str(trivy), "image", "--download-db-only", "--no-progress", *_QUIET_FLAGS),
        *(f"--cache-dir={cache}", f"--timeout={seconds}s"),
        *([f"--db-repository={repository}"] if repository else []),
    ]


def blank_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that blank Trivy's own in an environment; it treats an empty one as unset."""
    return {name: "" for name in environment if name.startswith("TRIVY_") and name not in ALLOWED_VARIABLES}


def without_ignore_comments(dockerfile: str) -> str:
    """Return a Dockerfile whose comments tell Trivy to ignore nothing; every line stays where it is."""
    return _IGNORE_COMMENT.sub(r"\1 ", dockerfile)


def merge_reports(reports: Sequence[tuple[str, JsonObject]], dockerfile: Iterable[JsonObject]) -> JsonObject:
    """Return one report of an image and its Dockerfile, in Trivy's form.

    The image's configuration is left out: it is in the image, and what an `ENV` there holds needs no second copy.

    Args:
        reports: platform → Trivy's report of the image for it; the first is the frame. With several, each result
        names its platform, and `SlipwayPlatforms` has what Trivy knows of each image.
        dockerfile: the results of its Dockerfile.
    """
    several = len(reports) > 1
    results: list[JsonObject] = []
    metadata_by_platform: dict[str, JsonObject] = {}
    for platform, report in reports:
        suffix = f" [{platform}]" if several else ""
        results += [{**result, "Target": f"{result['Target']}{suffix}"} for result in report.get("Results") or []]
        metadata = report.get("Metadata") or {}
        metadata_by_platform[platform] = {key: value for key, value in metadata.items() if key != "ImageConfig"}
    frame = {**reports[0][1], "Metadata": next(iter(metadata_by_platform.values())), "Results": [*results, *dockerfile]}
    return {**frame, "SlipwayPlatforms": metadata_by_platform} if several else frame


def make_predicate(
    report: JsonObject, database: Mapping[str, str], started: datetime, finished: datetime
) -> JsonObject:
    """Return what cosign attests as `vuln`: the whole report, by what it was made and when.

    It holds what cosign keeps, written as cosign writes it, so that what is attested equals what is in the file.

    Args:
        report: Trivy's, whole.
        database: `uri`, `version` and `lastUpdate` of the vulnerability database.
        started: when the scan began.
        finished: and ended.
    """
    version = report.get("Trivy", {}).get("Version", "")
    return {
        "invocation": {"parameters": {"database": dict(database)}, "uri": "", "event_id": "", "builder.id": ""},
        "scanner": {
            "uri": f"{SCANNER_URI}@v{version}",
            "version": version,
            "db": {key: database[key] for key in ("uri", "version")},
            "result": report,
        },
        "metadata": {"scanStartedOn": _format_time(started), "scanFinishedOn": _format_time(finished)},
    }


def merge_sboms(documents: Sequence[JsonObject]) -> JsonObject:
    """Return one list of packages for an image of several platforms, without duplicates."""
    first, *others = documents
    merged = dict(first)
    for other in others:
        root = (other.get("metadata") or {}).get("component")
        components = [*([root] if root else []), *(other.get("components") or [])]
        if "bomFormat" in first:
            merged["components"] = _deduplicate([*(merged.get("components") or []), *components], "bom-ref")
            merged["dependencies"] = _merge_dependencies(
                [*(merged.get("dependencies") or []), *(other.get("dependencies") or [])]
            )
        else:
            for key, identity in _SPDX_IDENTITY_KEYS.items():
                merged[key] = _deduplicate([*(merged.get(key) or []), *(other.get(key) or [])], *identity)
    return merged


_SPDX_IDENTITY_KEYS = {
    "packages": ("SPDXID",),
    "files": ("SPDXID",),
    "hasExtractedLicensingInfos": ("licenseId",),
    "relationships": ("spdxElementId", "relatedSpdxElement", "relationshipType"),
}


def _deduplicate(entries: Iterable[JsonObject], *keys: str) -> list[JsonObject]:
    found: dict[tuple[Any, ...], JsonObject] = {}
    for entry in entries:
        found.setdefault(tuple(entry.get(key) for key in keys), entry)
    return list(found.values())


def _merge_dependencies(entries: Iterable[JsonObject]) -> list[JsonObject]:
    found: dict[str, set[str]] = {}
    for entry in entries:
        found.setdefault(entry["ref"], set()).update(entry.get("dependsOn") or [])
    return [{"ref": ref, "dependsOn": sorted(on)} for ref, on in sorted(found.items())]


def is_complete_database(head: bytes, size: int) -> bool:
    """Return whether a file is a complete vulnerability database; a truncated copy is not.

    Trivy finds out only where it happens to read a page that is not there.

    Args:
        head: the file's first HEAD_BYTES.
        size: the whole file's size.
    """
    start = 0
    for _ in range(2):
        if len(head) < start + _PAGE_HEADER + _META.size:
            return False
        magic, _, page, _, _, _, pages, _ = _META.unpack_from(head, start + _PAGE_HEADER)
        if magic != _MAGIC or pages * page > size:
            return False
        start = page
    return True


def _format_time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _image_argv(trivy: Path, layout: str, cache: Path, output: Path, seconds: int) -> list[str]:
    return [
        *(str(trivy), "image", f"--input={layout}", f"--cache-dir={cache}", f"--output={output}"),
        *(f"--timeout={seconds}s", "--no-progress", "--skip-db-update", "--offline-scan", *_QUIET_FLAGS),
    ]
