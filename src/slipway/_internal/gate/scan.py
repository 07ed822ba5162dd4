"""The gate's scan and SBOMs: Trivy runs on exactly the bytes that would be pushed."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slipway._internal.commands import trivy
from slipway._internal.context.logs import logs_folder
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model.errors import GateRefused, SlipwayError
from slipway._internal.model.files import MAX_STATE_BYTES, MEGABYTE, read_bytes, write_atomically
from slipway._internal.model.parsing import JsonObject, convert, parse_json
from slipway._internal.model.scratch import temporary_folder
from slipway._internal.model.terminal_text import TAIL_LINES
from slipway._internal.model.workspace import Service
from slipway._internal.run.process import run
from slipway._internal.toolchain.locking import file_lock
from slipway._internal.toolchain.paths import state_path

DockerfileResults = Mapping[str, Sequence[JsonObject]]

DATABASE_SCHEMA = 2
TRIVY_SLACK_SECONDS = 10
"""How many seconds Trivy has to give up by itself, which says more than being stopped."""
_NEW_PREFIX = ".slipway-new-"
SBOM_FORMATS: dict[str, trivy.SbomFormat] = {"sbom.cdx.json": "cyclonedx", "sbom.spdx.json": "spdx-json"}


@dataclass(frozen=True)
class Database:
    """Trivy's vulnerability database on this machine."""

    folder: Path
    uri: str
    updated: str
    next_update: datetime

    @property
    def as_attested(self) -> dict[str, str]:
        """What an attestation says of it."""
        return {"uri": self.uri, "version": str(DATABASE_SCHEMA), "lastUpdate": self.updated}


class DatabaseUnavailable(Exception):
    """The database cannot be scanned with; the text says why, as in «the database …»."""


def cache_folder() -> Path:
    """Return the folder that Trivy itself would keep its databases in."""
    if configured := os.environ.get("TRIVY_CACHE_DIR"):
        return Path(configured).absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "trivy"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trivy"


def ensure_database(context: RunContext, reporter: Reporter, now: datetime) -> Database:
    """Return the vulnerability database, downloaded first where it is missing, outdated or damaged.

    Raises:
        GateRefused: there is no scanner, or no database of today to be had.
    """
    if not os.access(context.bin / "trivy", os.X_OK):
        raise GateRefused("Trivy is not installed, so nothing can be scanned", remedy="Run `invoke setup`.")
    with file_lock(
        state_path("trivy.lock"), lambda: reporter.say("Another process is updating Trivy's database, waiting.")
    ):
        try:
            return load_database(context, now)
        except DatabaseUnavailable as error:
            reporter.say(f"The vulnerability database {error}; downloading it.")
        download_error = _download_database(context)
        try:
            return load_database(context, now)
        except DatabaseUnavailable as error:
            raise _database_error(context, f"the vulnerability database {error}", download_error) from error


def load_database(context: RunContext, now: datetime) -> Database:
    """Return the database as it lies there, looked at.

    Raises:
        DatabaseUnavailable: it is missing, outdated, damaged, or of another version than Trivy reads.
    """
    folder = cache_folder() / "db"
    try:
        metadata: Any = parse_json(read_bytes(folder / "metadata.json", MEGABYTE))
        version, updated = int(metadata["Version"]), str(metadata["UpdatedAt"])
        next_update = datetime.fromisoformat(metadata["NextUpdate"]).astimezone(UTC)
        with (folder / "trivy.db").open("rb") as file:
            is_complete = trivy.is_complete_database(
                file.read(trivy.DATABASE_HEAD_BYTES), (folder / "trivy.db").stat().st_size
            )
    except FileNotFoundError as error:
        raise DatabaseUnavailable(f"is missing in {folder}") from error
    except (OSError, ValueError, LookupError, TypeError, OverflowError) as error:
        raise DatabaseUnavailable(f"in {folder} is damaged: metadata.json: {error}") from error
    if version != DATABASE_SCHEMA:
        raise DatabaseUnavailable(f"in {folder} has version {version}; Trivy reads version {DATABASE_SCHEMA}")
    if not is_complete:
        raise DatabaseUnavailable(f"in {folder} is damaged: trivy.db is incomplete")
    if next_update <= now.astimezone(UTC):
        raise DatabaseUnavailable(f"in {folder} is outdated since {next_update:%Y-%m-%d %H:%M} UTC")
    return Database(folder, context.workspace.settings.scan.database or trivy.DEFAULT_DATABASE, updated, next_update)


def scan_dockerfiles(context: RunContext, services: Sequence[Service]) -> DockerfileResults:
    """Return what Trivy says of each service's Dockerfile; one run for all of them, most of which is its start.

    A Dockerfile that Trivy cannot read is not in the result.

    Raises:
        GateRefused: Trivy failed.
    """
    log = _new_log(context, "dockerfiles.trivy")
    with _trivy_folder(context) as work_folder:
        service_by_path = {f"services/{service.name}/Dockerfile": service for service in services}
        for path, service in service_by_path.items():
            write_atomically(work_folder / "files" / path, trivy.without_ignore_comments(_dockerfile_text(service)))
        output, seconds = work_folder / "report.json", _time_limit(context)
        command = trivy.scan_dockerfiles(context.bin / "trivy", output, work_folder / "cache", seconds)
        _run_trivy(context, command, work_folder / "files", log, "the Dockerfiles could not be checked")
        results = _read_output(output, log).get("Results") or []
    return {
        service.name: [result for result in results if result.get("Target") == path]
        for path, service in service_by_path.items()
    }


def scan_image(
    context: RunContext, service: Service, layout: Path, into: Path, dockerfile_results: DockerfileResults | None = None
) -> Mapping[str, Any]:
    """Scan a built image, write what was found, and return Trivy's report of the image and its Dockerfile.

    Every platform of the image is scanned. What the findings mean is not judged here: see `commands.findings`.

    Args:
        context: workspace and tools; `ensure_database` has been called.
        service: whose image it is.
        layout: its OCI layout, a folder.
        into: gets trivy.json, trivy.txt (a table), trivy.sarif and, last, scan.json (what is attested).
        dockerfile_results: what `scan_dockerfiles` has said of this service and others, where that was asked before.

    Raises:
        GateRefused: Trivy, or something that it needs, failed.
    """
    name = service.name
    log = _new_log(context, f"{name}.scan")
    started = datetime.now(UTC)
    (into / "scan.json").unlink(missing_ok=True)  # written last: where it is, the others are of the same scan
    try:
        database = load_database(context, started)
    except DatabaseUnavailable as error:
        raise _database_error(context, f"the vulnerability database {error}", "") from error
    reports = []
    with _trivy_folder(context) as work_folder:
        for platform, manifest in list_images(layout):
            _write_single_image_layout(work_folder / name, layout, manifest)
            output = work_folder / "report.json"
            command = trivy.scan_image(
                context.bin / "trivy", name, output, database.folder.parent, _time_limit(context)
            )
            _run_trivy(context, command, work_folder, log, f"{name} could not be scanned")
            reports.append((platform, _read_output(output, log)))
        results = (dockerfile_results if dockerfile_results is not None else scan_dockerfiles(context, [service]))[name]
        report = trivy.merge_reports(reports, results)
        texts = {"trivy.json": json.dumps(report, indent=1)}
        report_file = work_folder / "trivy.json"
        report_file.write_text(texts["trivy.json"], encoding="utf-8")
        formats: dict[str, trivy.ReportFormat] = {"trivy.txt": "table", "trivy.sarif": "sarif"}
        for file, output_format in formats.items():
            command = trivy.convert_report(context.bin / "trivy", report_file, output_format, work_folder / file)
            _run_trivy(context, command, work_folder, log, f"{name}'s report could not be written as {output_format}")
            texts[file] = (work_folder / file).read_text(encoding="utf-8")
    attestation = trivy.make_predicate(report, database.as_attested, started, datetime.now(UTC))
    for file, text in {**texts, "scan.json": json.dumps(attestation, indent=1)}.items():
        write_atomically(into / file, text)
    return report


def write_sboms(context: RunContext, service: Service, layout: Path, into: Path) -> None:
    """Write the lists of what a built image holds: sbom.cdx.json (CycloneDX) and sbom.spdx.json (SPDX).

    Both are Trivy's own, of the archive. For the same image they differ from run to run only in when they were made
    and in the random identifiers that Trivy gives: CycloneDX's serial number and the references of what has no
    package URL (image, system, a package that is there twice), SPDX's namespace.

    Raises:
        GateRefused: Trivy failed.
    """
    log = _new_log(context, f"{service.name}.sbom")
    documents: dict[str, list[JsonObject]] = {file: [] for file in SBOM_FORMATS}
    for _, manifest in list_images(layout):
        with _trivy_folder(context) as work_folder:
            _write_single_image_layout(work_folder / service.name, layout, manifest)
            for file, kind in SBOM_FORMATS.items():
                output, cache = work_folder / file, work_folder / "cache"
                command = trivy.make_sbom(
                    context.bin / "trivy", service.name, kind, output, cache, _time_limit(context)
                )
                _run_trivy(context, command, work_folder, log, f"{service.name}'s packages could not be listed")
                documents[file].append(_read_output(output, log, trivy.SbomDocument))
    for file, parts in documents.items():
        write_atomically(into / file, json.dumps(trivy.merge_sboms(parts), indent=1))


def list_images(layout: Path) -> list[tuple[str, JsonObject]]:
    """Return the images in an OCI layout: each one's platform and descriptor, without attestations.

    Raises:
        GateRefused: it is no such layout, or holds none.
    """
    try:
        images = list(_walk_index(layout, _read_index(layout / "index.json")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise GateRefused(f"{layout} is not an OCI layout: {error}", remedy="Run `invoke build` again.") from error
    if not images:
        raise GateRefused(f"{layout} holds no image", remedy="Run `invoke build` again.")
    return images


def _walk_index(layout: Path, index: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    for descriptor in index["manifests"]:
        if descriptor.get("annotations", {}).get("vnd.docker.reference.type") == "attestation-manifest":
            continue
        if descriptor["mediaType"].endswith(("image.index.v1+json", "manifest.list.v2+json")):
            nested_index = layout / "blobs" / descriptor["digest"].replace(":", "/", 1)
            yield from _walk_index(layout, _read_index(nested_index))
        else:
            platform = descriptor.get("platform", {})
            parts = [platform.get("os"), platform.get("architecture"), platform.get("variant")]
            yield "/".join(part for part in parts if part), descriptor


def _read_index(path: Path) -> JsonObject:
    index: JsonObject = parse_json(read_bytes(path, MAX_STATE_BYTES), dict[str, Any])
    return index


def _write_single_image_layout(folder: Path, layout: Path, manifest: JsonObject) -> None:
    """Make a layout that holds one image of another: Trivy takes the first, whatever platforms there are."""
    folder.mkdir(exist_ok=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}), encoding="utf-8")
    if not (folder / "blobs").is_symlink():
        (folder / "blobs").symlink_to(layout.absolute() / "blobs")


@contextmanager
def _trivy_folder(context: RunContext) -> Iterator[Path]:
    """Yield a folder of its own to run Trivy in: without the settings that lie in a workspace's or a user's folder."""
    with temporary_folder(context.workspace.scratch, "scan") as work_folder:
        (work_folder / "cache").mkdir()
        java_database = cache_folder() / "java-db"  # names what is in a .jar; only what needs it downloads it
        if java_database.is_dir():
            (work_folder / "cache" / "java-db").symlink_to(java_database)
        yield work_folder


def _download_database(context: RunContext) -> str:
    """Download the database beside the real one and put it in its place; return what Trivy said where that failed."""
    folder = cache_folder()
    log = _new_log(context, "database.trivy")
    repository = context.workspace.settings.scan.database
    seconds = _time_limit(context)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{_NEW_PREFIX}*"):  # by a process that was killed: nobody else is here
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_NEW_PREFIX, dir=folder) as new_folder:
            command = trivy.download_database(context.bin / "trivy", Path(new_folder), repository, seconds)
            result = run(command, cwd=Path(new_folder), env=_environment(context), log=log, timeout=seconds)
            if result.code:
                return result.tail(TAIL_LINES)
            (folder / "db").mkdir(exist_ok=True)
            for name in ("trivy.db", "metadata.json"):  # the old metadata says «outdated» for as long as it stands
                (Path(new_folder) / "db" / name).replace(folder / "db" / name)
    except OSError as error:
        return str(error)
    except SlipwayError as error:
        return error.message
    return ""


def _database_error(context: RunContext, what: str, download_error: str) -> GateRefused:
    source = context.workspace.settings.scan.database
    mirror = "" if source else " (or a mirror's: `database` under [scan] in workspace.toml)"
    return GateRefused(
        f"{what}; nothing is scanned with that",
        detail=download_error,
        remedy=f"Make {source or 'Trivy’s registry'} reachable{mirror} and try again, or put a database of today into "
        f"{cache_folder() / 'db'} (TRIVY_CACHE_DIR names another folder).",
        log=_log_path(context, "database.trivy") if download_error else None,
    )


def _run_trivy(context: RunContext, command: Sequence[str], cwd: Path, log: Path, what: str) -> None:
    try:
        result = run(
            command, cwd=cwd, env=_environment(context), log=log, timeout=_time_limit(context) + TRIVY_SLACK_SECONDS
        )
    except SlipwayError as error:
        raise GateRefused(f"{what}: {error.message}", remedy=error.remedy or _LONGER_REMEDY, log=log) from error
    if result.code:
        raise GateRefused(what, detail=result.tail(TAIL_LINES), remedy=_failure_remedy(result.output), log=log)


_LONGER_REMEDY = "Try again, or allow more time: `seconds` under [gate] in workspace.toml."


def _failure_remedy(output: str) -> str:
    if "Java DB" in output or "java-db" in output:
        return "The image holds .jar files: get the database for them with `trivy image --download-java-db-only`."
    if "deadline exceeded" in output or "timeout" in output:
        return _LONGER_REMEDY
    return "Read the log; `invoke doctor` says what is wrong with the tools here."


def _read_output(
    output: Path, log: Path, shape: type[trivy.ScanReport | trivy.SbomDocument] = trivy.ScanReport
) -> JsonObject:
    try:
        content: JsonObject = parse_json(read_bytes(output, MAX_STATE_BYTES), dict[str, Any])
        convert(content, shape)
    except (OSError, ValueError) as error:
        raise GateRefused(
            f"Trivy succeeded but left no report: {error}", remedy=_failure_remedy(""), log=log
        ) from error
    if not content:
        raise GateRefused("Trivy succeeded but left an empty report", remedy=_failure_remedy(""), log=log)
    return content


def _dockerfile_text(service: Service) -> str:
    return service.dockerfile.read_text(encoding="utf-8", errors="replace")


def _environment(context: RunContext) -> dict[str, str]:
    return {**context.environment, **trivy.blank_variables(os.environ)}


def _time_limit(context: RunContext) -> int:
    return context.workspace.settings.gate.seconds


def _log_path(context: RunContext, name: str) -> Path:
    return logs_folder(context.workspace) / f"{name}.log"


def _new_log(context: RunContext, name: str) -> Path:
    log = _log_path(context, name)
    log.unlink(missing_ok=True)
    return log
