"""The gate for what runs beside the services: it passes like a service, but nobody here builds it from sources.

So it has no tests and no provenance of ours: it is fetched by the digest that `bases/bases.lock.json` names, scanned,
described, pushed to its own release repository and signed there.
"""

from __future__ import annotations

import shutil
from datetime import date

from slipway.commands import crane
from slipway.commands.cosign import SIGNATURE
from slipway.content.digest import BuildInputs
from slipway.flows import build, proving, scan
from slipway.flows.beside import KINDS, SOURCES, sources
from slipway.flows.build import Planned
from slipway.flows.logs import logs_of
from slipway.flows.proving import Proven
from slipway.flows.report import Report
from slipway.flows.standing import Ground
from slipway.model.errors import GateRefused, SlipwayError
from slipway.model.names import content_tag
from slipway.model.scratch import temporary_folder
from slipway.model.stack import Stack
from slipway.model.workspace import Service, ServiceSettings, Workspace
from slipway.run import registry
from slipway.run.credentials import environment_for
from slipway.run.process import run


def plan(workspace: Workspace, stack: Stack) -> list[Planned]:
    """Return what has to pass the gate beside the services; its content is its digest."""
    planned = []
    for name, ref in sources(workspace, stack).items():
        content = ref.rpartition(":")[2]
        folder = workspace.root / "bases" / SOURCES[name]
        service = Service(name, folder, ServiceSettings(kind="base"))
        result = build.result_of(workspace, name, content)
        inputs = BuildInputs(service.dockerfile, folder)
        planned.append(
            Planned(service, inputs, content, f"{ref.partition('@')[0]}:{content_tag(content)}", result, None, {})
        )
    return planned


def prove(ground: Ground, each: Planned, report: Report, database: scan.Database, today: date) -> Proven:
    """Fetch what is built elsewhere, scan it, and list what is in it; what was done before stays.

    Raises:
        GateRefused: the scan found what the policy refuses, or a step could not be carried out.
        SlipwayError: it cannot be fetched, or its bytes are not those of its digest.
    """
    ref = f"{each.tag.rpartition(':')[0]}@sha256:{each.content}"
    report.step(each.service.name, "fetching")
    if not each.built:
        _fetch(ground, ref, each)
    if registry.check(each.result) != f"sha256:{each.content}":
        raise GateRefused(f"{each.result} does not hold {ref}", remedy="Remove that folder and ship again.")
    if not proving.scanned_with(ground, each, database):
        rescan(ground, each, report)
    judge(ground, each, today)
    proving.describe(ground, each, report)
    report.step(each.service.name, "passed")
    kinds = tuple(kind for kind in KINDS if kind != SIGNATURE)
    return Proven(each, registry.check(each.result), proving.folder_of(ground.workspace, each), kinds)


def rescan(ground: Ground, each: Planned, report: Report) -> None:
    """Scan what was fetched; only the image, for no Dockerfile here is what it was made from."""
    report.step(each.service.name, "scanning")
    folder = proving.folder_of(ground.workspace, each)
    folder.mkdir(parents=True, exist_ok=True)
    scan.scan(ground, each.service, each.result, folder, {each.service.name: []})


def judge(ground: Ground, each: Planned, today: date) -> None:
    """Raise GateRefused when the policy refuses what was found."""
    found = proving.read_report(proving.folder_of(ground.workspace, each) / "trivy.json")
    proving.judge(ground, each, found, today, dockerfile=False)


def _fetch(ground: Ground, ref: str, each: Planned) -> None:
    workspace = ground.workspace
    log = logs_of(workspace) / f"{each.service.name}.pull.log"
    log.unlink(missing_ok=True)
    shutil.rmtree(each.result.parent, ignore_errors=True)
    with temporary_folder(workspace.scratch, "fetch") as room:
        command = crane.pull(
            ground.bin / "crane", ref, room / "oci", plain=registry.Registry(registry.parse(ref).host).plain
        )
        limit = float(workspace.settings.gate.seconds)
        result = run(command, env=environment_for(workspace, "pull"), log=log, timeout=limit)
        if result.code:
            raise SlipwayError(
                f"{ref} could not be fetched",
                remedy="Make its registry reachable, or `invoke setup` again if that image is gone.",
                detail=result.tail(),
                log=log,
            )
        if registry.check(room / "oci") != f"sha256:{each.content}":
            raise GateRefused(f"{ref} was asked for, and other bytes came", remedy="Its registry is not to be trusted.")
        each.result.parent.mkdir(parents=True, exist_ok=True)
        (room / "oci").rename(each.result)
