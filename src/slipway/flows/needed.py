"""What `invoke build` does: it decides what is needed before it contacts anything, and builds that and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.content import known
from slipway.flows import build
from slipway.flows.build import Planned
from slipway.flows.ground import bases_known, ground
from slipway.flows.recording import recorded
from slipway.flows.report import Lines, Report
from slipway.flows.standing import Ground, standing
from slipway.flows.turn import turn
from slipway.model import bases, lock
from slipway.model.stack import Stack
from slipway.model.workspace import Service, Workspace, load
from slipway.run import credentials
from slipway.toolchain import daemons


@dataclass(frozen=True)
class Built:
    """What was needed of the chosen services, and what differs in each from its last build, in words."""

    planned: list[Planned]
    why: Mapping[str, list[str]]


def build_needed(
    root: Path, chosen: str | None, report: Report, *, local: bool = False, dry: bool = False, explain: bool = False
) -> Built:
    """Build what nobody has built before, and remember what there is.

    Args:
        root: the workspace's.
        chosen: services' names with commas between them; None for all.
        report: told each step.
        local: build also what only the registry has.
        dry: build nothing.
        explain: say why.

    Raises:
        ConfigError: a file of the workspace is wrong.
        SlipwayError: the registry does not answer, or a build failed.
    """
    told = known.load(root)
    memory, images = known.begin(root, told), told.images
    workspace = load(root)
    services = workspace.chosen(chosen)
    with recorded(workspace, "build", whole=True):
        credentials.export(workspace)
        daemons.ensure_registry(workspace, on_line=Lines(report))
        if not bases_known(workspace):
            ground(workspace, report, building=True)
        planned = build.plan(workspace, services, memory, images)
        why = {each.service.name: build.why(workspace, each) for each in planned} if explain else {}
        if not dry:
            planned = _carry_out(
                workspace, planned, report, local, lambda: build.plan(workspace, services, memory, images)
            )
            found = {each.service.name: image for each in planned if (image := each.image())}
            known.keep(root, memory, found if chosen is None else {**images, **found}, whole=chosen is None)
    return Built(planned, why)


def build_many(here: Ground, stack: Stack, report: Report) -> None:
    """Build and push ahead of Pulumi, where it would have to build more images than one bake does at once.

    Pulumi begins as many builds as it has images, and keeps each one's secrets in a state that it writes after every
    step: with a hundred images that takes gigabytes of memory and minutes.

    Raises:
        ConfigError: a file of the workspace is wrong.
        SlipwayError: the registry does not answer, or a build failed.
    """
    services = _built_inline(here.workspace, stack)
    if len(services) <= build.AT_ONCE:
        return
    missing = _missing(here.workspace, services)
    if len(missing) <= build.AT_ONCE:
        return
    report.say(f"{len(missing)} images are to be built: {build.AT_ONCE} at once, before Pulumi begins.")
    _build_and_push(here, missing, report)


def build_ahead(here: Ground, stack: Stack, report: Report) -> None:
    """Build and push all that Pulumi would have to build, so that it needs no plugin for it.

    Raises:
        ConfigError: a file of the workspace is wrong.
        SlipwayError: the registry does not answer, or a build failed.
    """
    _build_and_push(here, _missing(here.workspace, _built_inline(here.workspace, stack)), report)


def _built_inline(workspace: Workspace, stack: Stack) -> list[Service]:
    locked = lock.load(workspace.root, stack.name).services if stack.images == "hybrid" else {}
    return [service for service in workspace.services if service.name not in locked]


def _missing(workspace: Workspace, services: Sequence[Service]) -> list[Planned]:
    """Return what the registry does not have yet of services' present images."""
    told = known.load(workspace.root)
    memory = known.begin(workspace.root, told)
    missing = [each for each in build.plan(workspace, services, memory, told.images) if not each.pushed]
    known.keep(workspace.root, memory)  # Pulumi's program reads the same files next
    return missing


def _build_and_push(here: Ground, missing: Sequence[Planned], report: Report) -> None:
    with turn(here.workspace, report):
        build.build(here, missing, report)
        for each in missing:
            build.upload(here, each, report)


def _carry_out(
    workspace: Workspace, planned: list[Planned], report: Report, local: bool, again: Callable[[], list[Planned]]
) -> list[Planned]:
    """Build what the plan needs; return the plan, made again where preparing the builder has changed a base."""
    here = standing(workspace)
    if any(each.needed or (local and not each.built) for each in planned):
        before = bases.load(workspace.root)
        here = ground(workspace, report, building=True)
        planned = planned if bases.load(workspace.root) == before else again()
    with turn(workspace, report):
        build.build(here, planned, report, local=local)
    return planned
