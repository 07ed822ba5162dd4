"""The gate's checks of one service before anything is pushed: build, test, scan, SBOM. Passed steps are not repeated.

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

from slipway._internal.build import bake_runner, build
from slipway._internal.build.build import JUNIT_FILE, PROVENANCE_ENVIRONMENT, PROVENANCE_FILE, TESTS_FILE, BuildPlan
from slipway._internal.commands import bake, findings, junit
from slipway._internal.content.normalized_contexts import normalize_inputs
from slipway._internal.context.logs import build_log, logs_folder
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import scan
from slipway._internal.gate.scan import Database, DockerfileResults
from slipway._internal.model.errors import ConfigError, GateRefused, SlipwayError
from slipway._internal.model.files import MAX_STATE_BYTES, MEGABYTE, PRIVATE_MODE, read_bytes, write_atomically
from slipway._internal.model.masking import mask
from slipway._internal.model.structured_files import read_json, read_json_or_none
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.run import registry
from slipway._internal.toolchain.builder import builder_of

SCAN_FILE = "scan.json"
MAX_REPORT_BYTES = 50 * MEGABYTE
FILE_BY_KIND = {
    "sbom": "sbom.cdx.json",
    "spdx": "sbom.spdx.json",
    "scan": SCAN_FILE,
    "provenance": PROVENANCE_FILE,
    "tests": TESTS_FILE,
}
"""Kind of attestation → the file that is attested."""


@dataclass(frozen=True)
class GateResult:
    """A service that has passed: its image's digest, the folder with each step's result, and which steps there are."""

    plan: BuildPlan
    digest: str
    folder: Path
    kinds: tuple[str, ...] = tuple(FILE_BY_KIND)

    @property
    def name(self) -> str:
        return self.plan.service.name

    @property
    def files(self) -> dict[str, Path]:
        return {kind: self.folder / FILE_BY_KIND[kind] for kind in self.kinds}


def results_folder(workspace: Workspace, plan: BuildPlan) -> Path:
    """Return the folder that holds the results of a service's present content."""
    return build.gate_results_folder(workspace, plan.service.name, plan.content)


def require_passed(context: RunContext, plan: BuildPlan, today: date) -> GateResult:
    """Return a service that has passed every step before, as it is now; for the steps that come after.

    Raises:
        GateRefused: a step was not carried out for this content, or its result does not pass.
    """
    folder = results_folder(context.workspace, plan)
    missing = sorted(file for file in FILE_BY_KIND.values() if not (folder / file).is_file())
    if not plan.is_built or missing:
        raise GateRefused(
            f"{plan.service.name} has not passed the earlier steps with its present sources",
            detail=", ".join(missing),
            remedy="Run `invoke ship --stack STACK`, or `invoke build`, `test`, `scan` and `sbom`.",
        )
    scan_report = read_report(folder / "trivy.json")
    enforce_policy(context, plan, scan_report, today)
    return GateResult(plan, registry.verify_layout(plan.layout), folder)


def service_name(plan: BuildPlan) -> str:
    return plan.service.name


def require_built(context: RunContext, services: Sequence[Service]) -> list[BuildPlan]:
    """Return services whose present content was built here.

    Raises:
        GateRefused: one was not.
    """
    plans = build.plan_builds(context.workspace, services)
    missing = [plan.service.name for plan in plans if not plan.is_built]
    if missing:
        raise GateRefused(
            f"not built here from the present sources: {', '.join(missing)}",
            remedy="Run `invoke ship --stack STACK`, which does every step, or `invoke build --local` first.",
        )
    return plans


def rerun_tests(context: RunContext, plan: BuildPlan, reporter: Reporter) -> None:
    """Run a service's tests again, whatever they said before; raises what `build_and_test` does."""
    (results_folder(context.workspace, plan) / TESTS_FILE).unlink(missing_ok=True)
    build_and_test(context, plan, reporter, image=False)
    reporter.done(plan.service.name, "tests passed")


def rescan(context: RunContext, plan: BuildPlan, reporter: Reporter, database: Database, today: date) -> str:
    """Scan a service again and return what was found as a table; raises what `scan_and_enforce` does."""
    folder = results_folder(context.workspace, plan)
    (folder / SCAN_FILE).unlink(missing_ok=True)
    scan_and_enforce(context, plan, reporter, database, None, today)
    reporter.done(plan.service.name, "scanned")
    return (folder / "trivy.txt").read_text(encoding="utf-8")


def list_packages(context: RunContext, plan: BuildPlan, reporter: Reporter) -> None:
    """List what is in a service's image, unless that was done."""
    folder = results_folder(context.workspace, plan)
    if not all((folder / file).is_file() for file in scan.SBOM_FORMATS):
        reporter.step(plan.service.name, "listing packages")
        folder.mkdir(parents=True, exist_ok=True)
        scan.write_sboms(context, plan.service, plan.layout, folder)
    reporter.done(plan.service.name, "packages listed")


def run_checks(
    context: RunContext,
    plan: BuildPlan,
    reporter: Reporter,
    database: Database,
    dockerfile_results: Future[DockerfileResults],
    today: date,
) -> GateResult:
    """Carry a service through every step that it has not passed yet.

    Raises:
        GateRefused: a test failed, the scan found what the policy refuses, or a step could not be carried out.
        SlipwayError: the build failed.
    """
    name, folder = plan.service.name, results_folder(context.workspace, plan)
    build_and_test(context, plan, reporter)
    digest = registry.verify_layout(plan.layout)
    scan_and_enforce(context, plan, reporter, database, dockerfile_results, today)
    list_packages(context, plan, reporter)
    if registry.verify_layout(plan.layout) != digest:
        raise GateRefused(
            f"{name}: {plan.layout} was changed while it was scanned",
            remedy="Remove that folder and run it again, and find out what else writes there.",
        )
    reporter.step(name, "passed")
    return GateResult(plan, digest, folder)


def scan_and_enforce(
    context: RunContext,
    plan: BuildPlan,
    reporter: Reporter,
    database: Database,
    dockerfile_results: Future[DockerfileResults] | None,
    today: date,
) -> Mapping[str, Any]:
    """Scan a service unless the very same image was scanned with this database; judge the result; return it."""
    folder = results_folder(context.workspace, plan)
    reporter.step(plan.service.name, "scanning")
    if was_scanned_with(context, plan, database):
        scan_report: Mapping[str, Any] = read_report(folder / "trivy.json")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        scan_report = scan.scan_image(
            context, plan.service, plan.layout, folder, dockerfile_results.result() if dockerfile_results else None
        )
    enforce_policy(context, plan, scan_report, today)
    return scan_report


def enforce_policy(
    context: RunContext, plan: BuildPlan, scan_report: Mapping[str, Any], today: date, *, dockerfile: bool = True
) -> None:
    """Raise GateRefused when the policy refuses what was found; without `dockerfile`, no look at one is asked for."""
    name = plan.service.name
    verdict = findings.evaluate_report(context.workspace.settings.scan, scan_report, name, today, dockerfile=dockerfile)
    if not verdict.passed:
        raise findings.refusal_error(verdict, name, results_folder(context.workspace, plan))


def build_and_test(context: RunContext, plan: BuildPlan, reporter: Reporter, *, image: bool = True) -> None:
    """Build a service's image and run its tests, both in one build environment; what was done before stays.

    Args:
        context: workspace, tools, builder.
        plan: the service.
        reporter: told each step.
        image: False runs the tests alone.

    Raises:
        GateRefused: there is no test stage, or it failed; junit.xml is there all the same.
        SlipwayError: the build failed.
    """
    workspace, name = context.workspace, plan.service.name
    folder = results_folder(workspace, plan)
    _require_test_stage(plan)
    to_test = not (folder / TESTS_FILE).is_file()
    to_build = image and not (plan.is_built and (folder / PROVENANCE_FILE).is_file())
    if not to_test and not to_build:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with build.new_layouts_folder(workspace) as work_folder:
        builder, cache = builder_of(workspace), workspace.cache(os.environ)
        base_target = bake.BakeTarget(name, normalize_inputs(plan.inputs, workspace.scratch), (plan.tag,))
        names = [
            *(bake.target_names([base_target]) if to_build else []),
            *(bake.report_target_names([base_target]) if to_test else []),
        ]

        def create_bake(secrets: Mapping[str, Path], buildx: Path, file: Path) -> tuple[Mapping[str, Any], list[str]]:
            target = replace(base_target, secrets=secrets, cache=cache)
            definition: dict[str, dict[str, Any]] = {"target": {}}
            if to_build:
                definition["target"] |= bake.make_definition([target], "oci", work_folder / "oci")["target"]
            if to_test:
                definition["target"] |= bake.make_test_definition([target], work_folder / "reports")
            command = bake.argv(buildx, file, builder, [target], chosen=names, metadata=work_folder / "metadata.json")
            return definition, command

        try:
            log_targets = [*names, *([f"{name}{bake.TEST_SUFFIX}"] if to_test else [])]
            bake_runner.run_bake(context, log_targets, reporter, create_bake, PROVENANCE_ENVIRONMENT)
        except GateRefused as error:
            write_atomically(
                folder / JUNIT_FILE,
                junit.render_stage_result(name, f"{error.message}\n{error.detail}"),
                mode=PRIVATE_MODE,
            )
            raise
        build.refuse_changed_sources(plan)
        if to_build:
            build.store_image(workspace, plan, work_folder / "oci", work_folder / "metadata.json")
        if to_test:
            _store_test_results(workspace, plan, work_folder / "reports" / name)


def _store_test_results(workspace: Workspace, plan: BuildPlan, reports: Path) -> None:
    """Keep what the stage wrote as one JUnit file, or one that says that it passed.

    Raises:
        GateRefused: though the stage ended well, the file says that tests failed or that none passed, or is none.
    """
    name, folder = plan.service.name, results_folder(workspace, plan)
    stage_reports = [mask(_read_junit(plan)) for plan in sorted(reports.rglob("junit*.xml"))]
    texts = stage_reports or [junit.render_stage_result(name)]
    write_atomically(folder / JUNIT_FILE, texts[0], mode=PRIVATE_MODE)
    try:
        write_atomically(folder / JUNIT_FILE, text := junit.merge(texts), mode=PRIVATE_MODE)
        tests = junit.parse(text)
    except ValueError as error:
        raise GateRefused(
            f"{name}: the JUnit file of its test stage cannot be read: {error}",
            remedy=f"Look at {folder / JUNIT_FILE} and at what writes it in services/{name}/Dockerfile.",
        ) from error
    if tests.failed:
        raise GateRefused(
            f"{name}: its test stage succeeded, but {folder / JUNIT_FILE} names {len(tests.failed)} failed tests",
            detail="\n".join(tests.failed[:20]),
            remedy=f"Fix the tests, and the exit status of the test stage in services/{name}/Dockerfile.",
            log=build_log(logs_folder(workspace), name),
        )
    if not tests.passed:
        raise GateRefused(
            f"{name}: its test stage succeeded, but {folder / JUNIT_FILE} names no test that passed",
            remedy=f"Write one in services/{name}/tests, or find out why none is found or all are skipped.",
            log=build_log(logs_folder(workspace), name),
        )
    predicate = junit.make_predicate(tests, [(f"services/{name}", plan.content)], datetime.now(UTC))
    write_atomically(folder / TESTS_FILE, json.dumps(predicate, indent=1), mode=PRIVATE_MODE)


def _read_junit(path: Path) -> str:
    """Return a JUnit file's text; a build may leave anything under that name, a link out of its folder too."""
    try:
        data = b"" if path.is_symlink() else read_bytes(path, MAX_REPORT_BYTES)
    except OSError:
        data = b""  # which is not a JUnit file
    return data.decode(errors="replace")


def _require_test_stage(plan: BuildPlan) -> None:
    try:
        plan.inputs.read_dockerfile().stage("test")
    except ConfigError as error:
        raise GateRefused(
            f"{plan.service.dockerfile} has no stage `test`, so nothing tests {plan.service.name}",
            remedy="Add one that runs its tests: `FROM build AS test`, as the services that `invoke new` makes do.",
        ) from error


def was_scanned_with(context: RunContext, plan: BuildPlan, database: Database) -> bool:
    """Whether the very same image was scanned with this database."""
    return _scanned_database(results_folder(context.workspace, plan) / SCAN_FILE) == database.as_attested


def _scanned_database(file: Path) -> object:
    try:
        attestation: Any = read_json_or_none(file)
        return attestation["scanner"]["db"]
    except (LookupError, TypeError):
        return None


def read_report(path: Path) -> Any:
    """Return what a step of the gate has left as JSON; SlipwayError where it cannot be read."""
    remedy = "Remove it and run it again."
    return read_json(path, Any, what="JSON", error=SlipwayError, remedy=remedy, limit=MAX_STATE_BYTES)
