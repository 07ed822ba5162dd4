"""The gate's scan and its lists of what an image holds: Trivy on the bytes that would be pushed, never on others."""

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

from slipway.commands import trivy
from slipway.flows.logs import logs_of
from slipway.flows.report import Report
from slipway.flows.standing import Ground
from slipway.model.errors import GateRefused, SlipwayError
from slipway.model.files import MEGABYTE, MEMORY_LIMIT, read_bytes, write_atomically
from slipway.model.parsing import convert, parse_json
from slipway.model.scratch import temporary_folder
from slipway.model.workspace import Service
from slipway.run.process import run
from slipway.toolchain.locking import alone
from slipway.toolchain.paths import state_path

Json = dict[str, Any]
Results = Mapping[str, Sequence[Json]]

SCHEMA = 2
TAIL = 15
SLACK = 10
"""How many seconds Trivy has to give up by itself, which says more than being stopped."""
_NEW = ".slipway-new-"
SBOMS: dict[str, trivy.Sbom] = {"sbom.cdx.json": "cyclonedx", "sbom.spdx.json": "spdx-json"}


@dataclass(frozen=True)
class Database:
    """Trivy's vulnerability database on this machine."""

    folder: Path
    uri: str
    updated: str
    next_update: datetime

    @property
    def told(self) -> dict[str, str]:
        """What an attestation says of it."""
        return {"uri": self.uri, "version": str(SCHEMA), "lastUpdate": self.updated}


class NotUsable(Exception):
    """The database cannot be scanned with; the text says why, as in «the database …»."""


def cache_folder() -> Path:
    """Return the folder that Trivy itself would keep its databases in."""
    if named := os.environ.get("TRIVY_CACHE_DIR"):
        return Path(named).absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "trivy"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trivy"


def ready(ground: Ground, report: Report, now: datetime) -> Database:
    """Return the vulnerability database, downloaded first where it is missing, outdated or damaged.

    Raises:
        GateRefused: there is no scanner, or no database of today to be had.
    """
    if not os.access(ground.bin / "trivy", os.X_OK):
        raise GateRefused("Trivy is not here, so nothing can be scanned", remedy="Run `invoke setup`.")
    with alone(state_path("trivy.lock"), lambda: report.say("Another process updates Trivy's database, waiting.")):
        try:
            return database(ground, now)
        except NotUsable as why:
            report.say(f"The vulnerability database {why}; downloading it.")
        said = _download(ground)
        try:
            return database(ground, now)
        except NotUsable as why:
            raise _no_database(ground, f"the vulnerability database {why}", said) from why


def database(ground: Ground, now: datetime) -> Database:
    """Return the database as it lies there, looked at.

    Raises:
        NotUsable: it is missing, outdated, damaged, or of another version than Trivy reads.
    """
    folder = cache_folder() / "db"
    try:
        about: Any = parse_json(read_bytes(folder / "metadata.json", MEGABYTE))
        version, updated = int(about["Version"]), str(about["UpdatedAt"])
        until = datetime.fromisoformat(about["NextUpdate"]).astimezone(UTC)
        with (folder / "trivy.db").open("rb") as file:
            whole = trivy.is_whole(file.read(trivy.HEAD_BYTES), (folder / "trivy.db").stat().st_size)
    except FileNotFoundError as error:
        raise NotUsable(f"is missing in {folder}") from error
    except (OSError, ValueError, LookupError, TypeError, OverflowError) as error:
        raise NotUsable(f"in {folder} is damaged: metadata.json: {error}") from error
    if version != SCHEMA:
        raise NotUsable(f"in {folder} has version {version}; Trivy reads version {SCHEMA}")
    if not whole:
        raise NotUsable(f"in {folder} is damaged: trivy.db is not whole")
    if until <= now.astimezone(UTC):
        raise NotUsable(f"in {folder} is outdated since {until:%Y-%m-%d %H:%M} UTC")
    return Database(folder, ground.workspace.settings.scan.database or trivy.DATABASE, updated, until)


def dockerfiles(ground: Ground, services: Sequence[Service]) -> Results:
    """Return what Trivy says of each service's Dockerfile; one run for all of them, most of which is its start.

    A Dockerfile that Trivy cannot read is not in the result.

    Raises:
        GateRefused: Trivy failed.
    """
    log = _fresh(ground, "dockerfiles.trivy")
    with _workshop(ground) as room:
        places = {f"services/{service.name}/Dockerfile": service for service in services}
        for place, service in places.items():
            write_atomically(room / "files" / place, trivy.judged_text(_text_of(service)))
        output, seconds = room / "report.json", _seconds(ground)
        command = trivy.dockerfiles(ground.bin / "trivy", output, room / "cache", seconds)
        _must(ground, command, room / "files", log, "the Dockerfiles could not be judged")
        found = _read(output, log).get("Results") or []
    return {service.name: [each for each in found if each.get("Target") == place] for place, service in places.items()}


def scan(
    ground: Ground, service: Service, layout: Path, into: Path, judged: Results | None = None
) -> Mapping[str, Any]:
    """Scan a built image, write what was found, and return Trivy's report of the image and its Dockerfile.

    Every platform of the image is scanned. What the findings mean is not judged here: see `commands.findings`.

    Args:
        ground: workspace and tools; `ready` has been called.
        service: whose image it is.
        layout: its OCI layout, a folder.
        into: gets trivy.json, trivy.txt (a table), trivy.sarif and, last, scan.json (what is attested).
        judged: what `dockerfiles` has said of this service and others, where that was asked before.

    Raises:
        GateRefused: Trivy, or something that it needs, failed.
    """
    name = service.name
    log = _fresh(ground, f"{name}.scan")
    started = datetime.now(UTC)
    (into / "scan.json").unlink(missing_ok=True)  # written last: where it is, the others are of the same scan
    try:
        there = database(ground, started)
    except NotUsable as why:
        raise _no_database(ground, f"the vulnerability database {why}", "") from why
    reports = []
    with _workshop(ground) as room:
        for platform, manifest in images(layout):
            _alone_in(room / name, layout, manifest)
            output = room / "report.json"
            command = trivy.image(ground.bin / "trivy", name, output, there.folder.parent, _seconds(ground))
            _must(ground, command, room, log, f"{name} could not be scanned")
            reports.append((platform, _read(output, log)))
        results = (judged if judged is not None else dockerfiles(ground, [service]))[name]
        report = trivy.joined(reports, results)
        texts = {"trivy.json": json.dumps(report, indent=1)}
        whole = room / "trivy.json"
        whole.write_text(texts["trivy.json"], encoding="utf-8")
        forms: dict[str, trivy.Converted] = {"trivy.txt": "table", "trivy.sarif": "sarif"}
        for file, form in forms.items():
            command = trivy.convert(ground.bin / "trivy", whole, form, room / file)
            _must(ground, command, room, log, f"{name}'s report could not be written as {form}")
            texts[file] = (room / file).read_text(encoding="utf-8")
    attested = trivy.predicate(report, there.told, started, datetime.now(UTC))
    for file, text in {**texts, "scan.json": json.dumps(attested, indent=1)}.items():
        write_atomically(into / file, text)
    return report


def sbom(ground: Ground, service: Service, layout: Path, into: Path) -> None:
    """Write the lists of what a built image holds: sbom.cdx.json (CycloneDX) and sbom.spdx.json (SPDX).

    Both are Trivy's own, of the archive. For the same image they differ from run to run only in when they were made
    and in the random identifiers that Trivy gives: CycloneDX's serial number and the references of what has no
    package URL (image, system, a package that is there twice), SPDX's namespace.

    Raises:
        GateRefused: Trivy failed.
    """
    log = _fresh(ground, f"{service.name}.sbom")
    documents: dict[str, list[Json]] = {file: [] for file in SBOMS}
    for _, manifest in images(layout):
        with _workshop(ground) as room:
            _alone_in(room / service.name, layout, manifest)
            for file, kind in SBOMS.items():
                output, cache = room / file, room / "cache"
                command = trivy.sbom(ground.bin / "trivy", service.name, kind, output, cache, _seconds(ground))
                _must(ground, command, room, log, f"{service.name}'s packages could not be listed")
                documents[file].append(_read(output, log, trivy.Packages))
    for file, parts in documents.items():
        write_atomically(into / file, json.dumps(trivy.joined_sbom(parts), indent=1))


def images(layout: Path) -> list[tuple[str, Json]]:
    """Return the images in an OCI layout: each one's platform and descriptor, without attestations.

    Raises:
        GateRefused: it is no such layout, or holds none.
    """
    try:
        found = list(_images(layout, _index(layout / "index.json")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise GateRefused(f"{layout} is no OCI layout: {error}", remedy="Run `invoke build` again.") from error
    if not found:
        raise GateRefused(f"{layout} holds no image", remedy="Run `invoke build` again.")
    return found


def _images(layout: Path, index: Json) -> Iterator[tuple[str, Json]]:
    for each in index["manifests"]:
        if each.get("annotations", {}).get("vnd.docker.reference.type") == "attestation-manifest":
            continue
        if each["mediaType"].endswith(("image.index.v1+json", "manifest.list.v2+json")):
            below = layout / "blobs" / each["digest"].replace(":", "/", 1)
            yield from _images(layout, _index(below))
        else:
            of = each.get("platform", {})
            parts = [of.get("os"), of.get("architecture"), of.get("variant")]
            yield "/".join(part for part in parts if part), each


def _index(path: Path) -> Json:
    found: Json = parse_json(read_bytes(path, MEMORY_LIMIT), dict[str, Any])
    return found


def _alone_in(folder: Path, layout: Path, manifest: Json) -> None:
    """Make a layout that holds one image of another: Trivy takes the first, whatever platforms there are."""
    folder.mkdir(exist_ok=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}), encoding="utf-8")
    if not (folder / "blobs").is_symlink():
        (folder / "blobs").symlink_to(layout.absolute() / "blobs")


@contextmanager
def _workshop(ground: Ground) -> Iterator[Path]:
    """Yield a folder of its own to run Trivy in: without the settings that lie in a workspace's or a user's folder."""
    with temporary_folder(ground.workspace.scratch, "scan") as room:
        (room / "cache").mkdir()
        java = cache_folder() / "java-db"  # names what is in a .jar; only what needs it downloads it
        if java.is_dir():
            (room / "cache" / "java-db").symlink_to(java)
        yield room


def _download(ground: Ground) -> str:
    """Download the database beside the real one and put it in its place; return what Trivy said where that failed."""
    folder = cache_folder()
    log = _fresh(ground, "database.trivy")
    repository = ground.workspace.settings.scan.database
    seconds = _seconds(ground)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_NEW}*"):  # by a process that was killed: nobody else is here
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_NEW, dir=folder) as new:
            command = trivy.download(ground.bin / "trivy", Path(new), repository, seconds)
            result = run(command, cwd=Path(new), env=_environment(ground), log=log, timeout=seconds)
            if result.code:
                return result.tail(TAIL)
            (folder / "db").mkdir(exist_ok=True)
            for name in ("trivy.db", "metadata.json"):  # the old metadata says «outdated» for as long as it stands
                (Path(new) / "db" / name).replace(folder / "db" / name)
    except OSError as error:
        return str(error)
    except SlipwayError as error:
        return error.what
    return ""


def _no_database(ground: Ground, what: str, said: str) -> GateRefused:
    source = ground.workspace.settings.scan.database
    mirror = "" if source else " (or a mirror's: `database` under [scan] in workspace.toml)"
    return GateRefused(
        f"{what}; nothing is scanned with that",
        detail=said,
        remedy=f"Make {source or 'Trivy’s registry'} reachable{mirror} and try again, or put a database of today into "
        f"{cache_folder() / 'db'} (TRIVY_CACHE_DIR names another folder).",
        log=_log(ground, "database.trivy") if said else None,
    )


def _must(ground: Ground, command: Sequence[str], cwd: Path, log: Path, what: str) -> None:
    try:
        result = run(command, cwd=cwd, env=_environment(ground), log=log, timeout=_seconds(ground) + SLACK)
    except SlipwayError as error:
        raise GateRefused(f"{what}: {error.what}", remedy=error.remedy or _LONGER, log=log) from error
    if result.code:
        raise GateRefused(what, detail=result.tail(TAIL), remedy=_remedy(result.output), log=log)


_LONGER = "Try again, or give it longer: `seconds` under [gate] in workspace.toml."


def _remedy(output: str) -> str:
    if "Java DB" in output or "java-db" in output:
        return "The image holds .jar files: get what names them with `trivy image --download-java-db-only`."
    if "deadline exceeded" in output or "timeout" in output:
        return _LONGER
    return "Read the log; `invoke doctor` says what is wrong with the tools here."


def _read(output: Path, log: Path, form: type[trivy.Report | trivy.Packages] = trivy.Report) -> Json:
    try:
        found: Json = parse_json(read_bytes(output, MEMORY_LIMIT), dict[str, Any])
        convert(found, form)
    except (OSError, ValueError) as error:
        raise GateRefused(f"Trivy ended well but left no report: {error}", remedy=_remedy(""), log=log) from error
    if not found:
        raise GateRefused("Trivy ended well but left an empty report", remedy=_remedy(""), log=log)
    return found


def _text_of(service: Service) -> str:
    return service.dockerfile.read_text(encoding="utf-8", errors="replace")


def _environment(ground: Ground) -> dict[str, str]:
    return {**ground.environment, **trivy.blanked(os.environ)}


def _seconds(ground: Ground) -> int:
    return ground.workspace.settings.gate.seconds


def _log(ground: Ground, name: str) -> Path:
    return logs_of(ground.workspace) / f"{name}.log"


def _fresh(ground: Ground, name: str) -> Path:
    log = _log(ground, name)
    log.unlink(missing_ok=True)
    return log
