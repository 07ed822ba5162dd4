"""What one service has to pass before anything is pushed: build, test, scan, SBOM. Steps that passed are not repeated.

Each step leaves its result in .slipway/gate/SERVICE/CONTENT DIGEST/, written whole or not at all, so a run that was
killed goes on where it stopped. Nothing in there is believed on its own: the image's bytes are checked against their
digest, and the scan is judged by today's policy.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from slipway.commands import bake, findings, junit
from slipway.content import dockerfile
from slipway.content.mirror import with_normal_modes
from slipway.flows import baking, build, scan
from slipway.flows.build import JUNIT, PROVENANCE, RECORDED, TESTS, Planned
from slipway.flows.logs import build_log, logs_of
from slipway.flows.report import Report
from slipway.flows.scan import Database, Results
from slipway.flows.standing import Ground
from slipway.model.errors import ConfigError, GateRefused, SlipwayError
from slipway.model.files import MEGABYTE, MEMORY_LIMIT, PRIVATE, read_bytes, write_atomically
from slipway.model.masking import mask
from slipway.model.reading import read_json, read_memory
from slipway.model.workspace import Service, Workspace
from slipway.run import registry
from slipway.toolchain.builder import name_of as builder_of

SCAN = "scan.json"
REPORT_LIMIT = 50 * MEGABYTE
FILES = {"sbom": "sbom.cdx.json", "spdx": "sbom.spdx.json", "scan": SCAN, "provenance": PROVENANCE, "tests": TESTS}
"""Kind of attestation → the file that is attested."""


@dataclass(frozen=True)
class Proven:
    """A service that has passed: its image's digest, the folder with each step's result, and which steps there are."""

    planned: Planned
    digest: str
    folder: Path
    kinds: tuple[str, ...] = tuple(FILES)

    @property
    def name(self) -> str:
        return self.planned.service.name

    @property
    def files(self) -> dict[str, Path]:
        return {kind: self.folder / FILES[kind] for kind in self.kinds}


def folder_of(workspace: Workspace, each: Planned) -> Path:
    """Return the folder that holds the results of a service's present content."""
    return build.results_of(workspace, each.service.name, each.content)


def proven(ground: Ground, each: Planned, today: date) -> Proven:
    """Return a service that has passed every step before, as it is now; for the steps that come after.

    Raises:
        GateRefused: a step was not carried out for this content, or its result does not pass.
    """
    folder = folder_of(ground.workspace, each)
    missing = sorted(file for file in FILES.values() if not (folder / file).is_file())
    if not each.built or missing:
        raise GateRefused(
            f"{each.service.name} has not passed the steps before this one as its sources are now",
            detail=", ".join(missing),
            remedy="Run `invoke ship --stack STACK`, or `invoke build`, `test`, `scan` and `sbom`.",
        )
    report = read_report(folder / "trivy.json")
    judge(ground, each, report, today)
    return Proven(each, registry.check(each.result), folder)


def name_of(each: Planned) -> str:
    return each.service.name


def built(ground: Ground, services: Sequence[Service]) -> list[Planned]:
    """Return services whose present content was built here.

    Raises:
        GateRefused: one was not.
    """
    planned = build.plan(ground.workspace, services)
    missing = [each.service.name for each in planned if not each.built]
    if missing:
        raise GateRefused(
            f"not built here as the sources are now: {', '.join(missing)}",
            remedy="Run `invoke ship --stack STACK`, which does every step, or `invoke build --local` first.",
        )
    return planned


def test(ground: Ground, each: Planned, report: Report) -> None:
    """Run a service's tests again, whatever they said before; raises what `build_and_test` does."""
    (folder_of(ground.workspace, each) / TESTS).unlink(missing_ok=True)
    build_and_test(ground, each, report, image=False)
    report.done(each.service.name, "tests passed")


def rescan(ground: Ground, each: Planned, report: Report, database: Database, today: date) -> str:
    """Scan a service again and return what was found as a table; raises what `scan_and_judge` does."""
    folder = folder_of(ground.workspace, each)
    (folder / SCAN).unlink(missing_ok=True)
    scan_and_judge(ground, each, report, database, None, today)
    report.done(each.service.name, "scanned")
    return (folder / "trivy.txt").read_text(encoding="utf-8")


def describe(ground: Ground, each: Planned, report: Report) -> None:
    """List what is in a service's image, unless that was done."""
    folder = folder_of(ground.workspace, each)
    if not all((folder / file).is_file() for file in scan.SBOMS):
        report.step(each.service.name, "listing packages")
        folder.mkdir(parents=True, exist_ok=True)
        scan.sbom(ground, each.service, each.result, folder)
    report.done(each.service.name, "packages listed")


def prove(
    ground: Ground, each: Planned, report: Report, database: Database, judged: Future[Results], today: date
) -> Proven:
    """Carry a service through every step that it has not passed yet.

    Raises:
        GateRefused: a test failed, the scan found what the policy refuses, or a step could not be carried out.
        SlipwayError: the build failed.
    """
    name, folder = each.service.name, folder_of(ground.workspace, each)
    build_and_test(ground, each, report)
    digest = registry.check(each.result)
    scan_and_judge(ground, each, report, database, judged, today)
    describe(ground, each, report)
    if registry.check(each.result) != digest:
        raise GateRefused(
            f"{name}: {each.result} was changed while it was scanned",
            remedy="Remove that folder and run it again; find out who else writes there.",
        )
    report.step(name, "passed")
    return Proven(each, digest, folder)


def scan_and_judge(
    ground: Ground, each: Planned, report: Report, database: Database, judged: Future[Results] | None, today: date
) -> Mapping[str, Any]:
    """Scan a service unless the very same image was scanned with this database; judge the result; return it."""
    folder = folder_of(ground.workspace, each)
    report.step(each.service.name, "scanning")
    if scanned_with(ground, each, database):
        found: Mapping[str, Any] = read_report(folder / "trivy.json")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        found = scan.scan(ground, each.service, each.result, folder, judged.result() if judged else None)
    judge(ground, each, found, today)
    return found


def judge(ground: Ground, each: Planned, found: Mapping[str, Any], today: date, *, dockerfile: bool = True) -> None:
    """Raise GateRefused when the policy refuses what was found; without `dockerfile`, no look at one is asked for."""
    name = each.service.name
    verdict = findings.verdict(ground.workspace.settings.scan, found, name, today, dockerfile=dockerfile)
    if not verdict.passed:
        raise findings.refusal(verdict, name, folder_of(ground.workspace, each))


def build_and_test(ground: Ground, each: Planned, report: Report, *, image: bool = True) -> None:
    """Build a service's image and run its tests, both in one build environment; what was done before stays.

    Args:
        ground: workspace, tools, builder.
        each: the service.
        report: told each step.
        image: False runs the tests alone.

    Raises:
        GateRefused: there is no test stage, or it failed; junit.xml is there all the same.
        SlipwayError: the build failed.
    """
    workspace, name = ground.workspace, each.service.name
    folder = folder_of(workspace, each)
    _require_test_stage(each)
    to_test = not (folder / TESTS).is_file()
    to_build = image and not (each.built and (folder / PROVENANCE).is_file())
    if not to_test and not to_build:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with build.new_layouts(workspace) as room:
        builder, cache = builder_of(workspace), workspace.cache(os.environ)
        whole = bake.Target(name, with_normal_modes(each.inputs, workspace.scratch), (each.tag,))
        names = [*(bake.names([whole]) if to_build else []), *(bake.reported([whole]) if to_test else [])]

        def made(secrets: Mapping[str, Path], buildx: Path, file: Path) -> tuple[Mapping[str, Any], list[str]]:
            target = replace(whole, secrets=secrets, cache=cache)
            definition: dict[str, dict[str, Any]] = {"target": {}}
            if to_build:
                definition["target"] |= bake.definition([target], "oci", room / "oci")["target"]
            if to_test:
                definition["target"] |= bake.tests([target], room / "reports")
            command = bake.argv(buildx, file, builder, [target], chosen=names, metadata=room / "metadata.json")
            return definition, command

        try:
            told = [*names, *([f"{name}{bake.TEST}"] if to_test else [])]
            baking.carry_out(ground, told, report, made, RECORDED)
        except GateRefused as error:
            write_atomically(folder / JUNIT, junit.of_stage(name, f"{error.what}\n{error.detail}"), mode=PRIVATE)
            raise
        build.refuse_changed(each)
        if to_build:
            build.keep_image(workspace, each, room / "oci", room / "metadata.json")
        if to_test:
            _keep_tests(workspace, each, room / "reports" / name)


def _keep_tests(workspace: Workspace, each: Planned, reports: Path) -> None:
    """Keep what the stage wrote as one JUnit file, or one that says that it passed.

    Raises:
        GateRefused: though the stage ended well, the file says that tests failed or that none passed, or is none.
    """
    name, folder = each.service.name, folder_of(workspace, each)
    written = [mask(_report(each)) for each in sorted(reports.rglob("junit*.xml"))]
    texts = written or [junit.of_stage(name)]
    write_atomically(folder / JUNIT, texts[0], mode=PRIVATE)
    try:
        write_atomically(folder / JUNIT, text := junit.joined(texts), mode=PRIVATE)
        tests = junit.read(text)
    except ValueError as error:
        raise GateRefused(
            f"{name}: the JUnit file of its test stage cannot be read: {error}",
            remedy=f"Look at {folder / JUNIT} and at what writes it in services/{name}/Dockerfile.",
        ) from error
    if tests.failed:
        raise GateRefused(
            f"{name}: its test stage ended well, but {folder / JUNIT} names {len(tests.failed)} failed tests",
            detail="\n".join(tests.failed[:20]),
            remedy=f"Mend the tests, and the exit status of the test stage in services/{name}/Dockerfile.",
            log=build_log(logs_of(workspace), name),
        )
    if not tests.passed:
        raise GateRefused(
            f"{name}: its test stage ended well, but {folder / JUNIT} names no test that passed",
            remedy=f"Write one in services/{name}/tests, or look why none is found or all are skipped.",
            log=build_log(logs_of(workspace), name),
        )
    told = junit.predicate(tests, [(f"services/{name}", each.content)], datetime.now(UTC))
    write_atomically(folder / TESTS, json.dumps(told, indent=1), mode=PRIVATE)


def _report(path: Path) -> str:
    """Return a JUnit file's text; a build may leave anything under that name, a link out of its folder too."""
    try:
        data = b"" if path.is_symlink() else read_bytes(path, REPORT_LIMIT)
    except OSError:
        data = b""  # which is no JUnit file
    return data.decode(errors="replace")


def _require_test_stage(each: Planned) -> None:
    try:
        dockerfile.read(each.service.dockerfile).stage("test")
    except ConfigError as error:
        raise GateRefused(
            f"{each.service.dockerfile} has no stage `test`, so nothing tests {each.service.name}",
            remedy="Add one that runs its tests: `FROM build AS test`, as the Dockerfiles of slipway/kinds/ do.",
        ) from error


def scanned_with(ground: Ground, each: Planned, database: Database) -> bool:
    """Whether the very same image was scanned with this database."""
    return _scanned_with(folder_of(ground.workspace, each) / SCAN) == database.told


def _scanned_with(file: Path) -> object:
    try:
        found: Any = read_memory(file)
        return found["scanner"]["db"]
    except (LookupError, TypeError):
        return None


def read_report(path: Path) -> Any:
    """Return what a step of the gate has left as JSON; SlipwayError where it cannot be read."""
    remedy = "Remove it and run it again."
    return read_json(path, Any, what="JSON", error=SlipwayError, remedy=remedy, limit=MEMORY_LIMIT)
