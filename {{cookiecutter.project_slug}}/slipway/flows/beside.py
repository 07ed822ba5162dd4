"""What runs beside the services and is built elsewhere: the gateway. It passes the gate like a service, by digest.

Nobody here builds it from sources, so it has no tests and no provenance of ours: it is fetched by the digest that
`bases/bases.lock.json` names, scanned, described, pushed to its own release repository and signed there.
"""

from __future__ import annotations

import shutil
from datetime import date

from slipway.commands import crane
from slipway.commands.cosign import SIGNATURE
from slipway.content.digest import BuildInputs
from slipway.flows import build, proving, scan
from slipway.flows.build import Planned
from slipway.flows.logs import logs_of
from slipway.flows.proving import Proven
from slipway.flows.report import Report
from slipway.flows.standing import Ground
from slipway.model import bases, lock
from slipway.model.errors import EvidenceError, GateRefused, SlipwayError
from slipway.model.names import content_tag
from slipway.model.scratch import temporary_folder
from slipway.model.stack import Stack
from slipway.model.workspace import Service, ServiceSettings, Workspace
from slipway.run import registry
from slipway.run.credentials import environment_for
from slipway.run.process import run

KINDS = (SIGNATURE, "sbom", "spdx", "scan")
"""The evidence that an image has which was built elsewhere."""
SOURCES = {lock.GATEWAY: bases.GATEWAY}
"""What runs beside the services → the base that it is."""


def names(stack: Stack) -> tuple[str, ...]:
    """Return what runs beside a stack's services; on a cluster nothing: its gateway is its own."""
    return tuple(SOURCES) if stack.target == "docker" else ()


def sources(workspace: Workspace, stack: Stack) -> dict[str, str]:
    """Return what runs beside a stack's services, and the image by digest that `bases/bases.lock.json` has for it.

    Raises:
        EvidenceError: the bases are not resolved, or one is missing.
    """
    wanted = {name: SOURCES[name] for name in names(stack)}
    known = bases.load(workspace.root).bases if wanted else {}
    if missing := [base for base in wanted.values() if base not in known]:
        raise EvidenceError(
            f"{bases.path_of(workspace.root)} does not name {', '.join(missing)}", remedy="Run `invoke setup`."
        )
    return {name: known[base] for name, base in wanted.items()}


def running(workspace: Workspace, stack: Stack, locked: lock.Lock) -> dict[str, str]:
    """Return what runs beside a stack's services: what is locked, else, where the stack is not protected, the base.

    Raises:
        EvidenceError: the stack is protected, and its lock was made before this had to pass the gate.
    """
    refuse_missing(workspace, stack, locked, stack.name)
    found = {name: locked.beside[name].ref for name in names(stack) if name in locked.beside}
    return found if set(found) == set(names(stack)) else {**sources(workspace, stack), **found}


def refuse_missing(workspace: Workspace, stack: Stack, locked: lock.Lock, shipped: str) -> None:
    """Refuse, for a protected stack, a lock that says nothing of what runs beside the services.

    Args:
        workspace: the workspace.
        stack: where it is to run.
        locked: the lock.
        shipped: the stack to ship to.

    Raises:
        EvidenceError: it is stale.
    """
    missing = ", ".join(name for name in names(stack) if name not in locked.beside)
    if missing and stack.protected:
        raise EvidenceError(
            f"{lock.path_of(workspace.root, locked.stack)} is stale: it has no proven image for the {missing}, "
            "which runs in front of the services",
            remedy=f"Run `invoke ship --stack {shipped}`: what has passed stays, the rest goes through the gate too.",
        )


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
