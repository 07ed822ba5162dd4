"""The gate for images that are not built here: the gateway's, and those that a service's file names.

Such an image has no tests and no provenance of ours: it is fetched by the digest that `bases/bases.lock.json` or the
service.toml names, scanned, described, pushed to its own release repository and signed there.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import date

from slipway._internal.build import build
from slipway._internal.build.build import BuildPlan
from slipway._internal.commands import crane
from slipway._internal.commands.cosign import SIGNATURE
from slipway._internal.content.digest import BuildInputs
from slipway._internal.context.logs import logs_folder
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import checks, scan
from slipway._internal.gate.checks import GateResult
from slipway._internal.gate.prebuilt_images import BASE_BY_NAME, PREBUILT_EVIDENCE_KINDS, base_refs
from slipway._internal.model.errors import GateRefused, SlipwayError
from slipway._internal.model.names import content_tag
from slipway._internal.model.scratch import temporary_folder
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, ServiceSettings, Workspace
from slipway._internal.run import registry
from slipway._internal.run.credentials import login_environment
from slipway._internal.run.process import run


def plan_prebuilt(workspace: Workspace, services: Sequence[Service], stack: Stack) -> list[BuildPlan]:
    """Return what has to pass the gate and is not built here; its content is its digest."""
    named = [(service, service.settings.image) for service in services if service.settings.image]
    beside = [
        (Service(name, workspace.root / "bases" / BASE_BY_NAME[name], ServiceSettings(kind="base")), ref)
        for name, ref in base_refs(workspace, stack).items()
    ]
    return [_plan_image(workspace, service, ref) for service, ref in [*named, *beside]]


def _plan_image(workspace: Workspace, service: Service, ref: str) -> BuildPlan:
    content = ref.rpartition(":")[2]
    inputs = BuildInputs(service.dockerfile, service.folder)
    layout = build.layout_folder(workspace, service.name, content)
    tag = f"{ref.partition('@')[0]}:{content_tag(content)}"
    return BuildPlan(service, inputs, content, tag, layout, None, {})


def run_checks(
    context: RunContext, plan: BuildPlan, reporter: Reporter, database: scan.Database, today: date
) -> GateResult:
    """Fetch what is built elsewhere, scan it, and list what is in it; what was done before stays.

    Raises:
        GateRefused: the scan found what the policy refuses, or a step could not be carried out.
        SlipwayError: it cannot be fetched, or its bytes are not those of its digest.
    """
    ref = f"{plan.tag.rpartition(':')[0]}@sha256:{plan.content}"
    reporter.step(plan.service.name, "fetching")
    if not plan.is_built:
        _fetch_image(context, ref, plan)
    if registry.verify_layout(plan.layout) != f"sha256:{plan.content}":
        raise GateRefused(f"{plan.layout} does not hold {ref}", remedy="Remove that folder and ship again.")
    if not checks.was_scanned_with(context, plan, database):
        rescan(context, plan, reporter)
    enforce_policy(context, plan, today)
    checks.list_packages(context, plan, reporter)
    reporter.step(plan.service.name, "passed")
    kinds = tuple(kind for kind in PREBUILT_EVIDENCE_KINDS if kind != SIGNATURE)
    return GateResult(plan, registry.verify_layout(plan.layout), checks.results_folder(context.workspace, plan), kinds)


def rescan(context: RunContext, plan: BuildPlan, reporter: Reporter) -> None:
    """Scan what was fetched; only the image, for no Dockerfile here is what it was made from."""
    reporter.step(plan.service.name, "scanning")
    folder = checks.results_folder(context.workspace, plan)
    folder.mkdir(parents=True, exist_ok=True)
    scan.scan_image(context, plan.service, plan.layout, folder, {plan.service.name: []})


def enforce_policy(context: RunContext, plan: BuildPlan, today: date) -> None:
    """Raise GateRefused when the policy refuses what was found."""
    scan_report = checks.read_report(checks.results_folder(context.workspace, plan) / "trivy.json")
    checks.enforce_policy(context, plan, scan_report, today, dockerfile=False)


def _fetch_image(context: RunContext, ref: str, plan: BuildPlan) -> None:
    workspace = context.workspace
    log = logs_folder(workspace) / f"{plan.service.name}.pull.log"
    log.unlink(missing_ok=True)
    shutil.rmtree(plan.layout.parent, ignore_errors=True)
    with temporary_folder(workspace.scratch, "fetch") as work_folder:
        command = crane.pull(
            context.bin / "crane",
            ref,
            work_folder / "oci",
            plain=registry.Registry(registry.parse_reference(ref).host).is_plain_http,
        )
        limit = float(workspace.settings.gate.seconds)
        result = run(command, env=login_environment(workspace, "pull"), log=log, timeout=limit)
        if result.code:
            raise SlipwayError(
                f"{ref} could not be fetched",
                remedy="Make its registry reachable, or `invoke setup` again if that image is gone.",
                detail=result.tail(),
                log=log,
            )
        if registry.verify_layout(work_folder / "oci") != f"sha256:{plan.content}":
            raise GateRefused(
                f"{ref} was requested, and other bytes were received", remedy="Do not trust its registry."
            )
        plan.layout.parent.mkdir(parents=True, exist_ok=True)
        (work_folder / "oci").rename(plan.layout)
