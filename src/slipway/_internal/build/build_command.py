"""The command `invoke build`: decides what is needed before it contacts anything, and builds only that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway._internal.build import build
from slipway._internal.build.build import BuildPlan
from slipway._internal.build.environment import has_bases, prepare_environment
from slipway._internal.content import build_state
from slipway._internal.context.reporter import Reporter, ToolLineReporter
from slipway._internal.context.run_context import RunContext, current_environment
from slipway._internal.context.workspace_lock import workspace_lock
from slipway._internal.insight.run_recorder import record_run
from slipway._internal.model import bases_lock, lock
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, Workspace, load_workspace
from slipway._internal.run import credentials, registry
from slipway._internal.toolchain import daemons


@dataclass(frozen=True)
class BuildResult:
    """What was needed of the chosen services, and what differs in each from its last build, in words."""

    plans: list[BuildPlan]
    reasons: Mapping[str, list[str]]


def build_services(
    root: Path, chosen: str | None, reporter: Reporter, *, local: bool = False, dry: bool = False, explain: bool = False
) -> BuildResult:
    """Build what nobody has built before, and remember what there is.

    Args:
        root: the workspace's.
        chosen: services' names with commas between them; None for all.
        reporter: told each step.
        local: build also what only the registry has.
        dry: build nothing.
        explain: say why.

    Raises:
        ConfigError: a file of the workspace is wrong.
        SlipwayError: the registry does not answer, or a build failed.
    """
    saved_state = build_state.load(root)
    stat_cache, images = build_state.open_stat_cache(root, saved_state), saved_state.images
    workspace = load_workspace(root)
    services = workspace.select_services(chosen)
    with record_run(workspace, "build", from_process_start=True):
        credentials.check_logins(workspace)
        daemons.ensure_registry(workspace, on_line=ToolLineReporter(reporter))
        if not has_bases(workspace):
            prepare_environment(workspace, reporter, building=True)
        plans = build.plan_builds(workspace, services, stat_cache, images)
        reasons = {plan.service.name: build.explain_changes(workspace, plan) for plan in plans} if explain else {}
        if not dry:
            plans = _build_plans(
                workspace, plans, reporter, local, lambda: build.plan_builds(workspace, services, stat_cache, images)
            )
            built_images = {plan.service.name: image for plan in plans if (image := plan.image())}
            build_state.save(
                root,
                stat_cache,
                built_images if chosen is None else {**images, **built_images},
                complete=chosen is None,
            )
    return BuildResult(plans, reasons)


def build_ahead_if_many(context: RunContext, stack: Stack, reporter: Reporter) -> None:
    """Build and push ahead of Pulumi, where it would have to build more images than one bake does at once.

    Pulumi begins as many builds as it has images, and keeps each one's secrets in a state that it writes after every
    step: with a hundred images that takes gigabytes of memory and minutes.

    Raises:
        ConfigError: a file of the workspace is wrong.
        SlipwayError: the registry does not answer, or a build failed.
    """
    services = _inline_services(context.workspace, stack)
    if len(services) <= build.MAX_BATCH_SIZE:
        return
    missing = _missing_images(context.workspace, services)
    if len(missing) <= build.MAX_BATCH_SIZE:
        return
    reporter.say(f"{len(missing)} images have to be built: {build.MAX_BATCH_SIZE} at once, before Pulumi begins.")
    _build_and_push(context, missing, reporter)


def build_ahead(context: RunContext, stack: Stack, reporter: Reporter) -> None:
    """Build and push all that Pulumi would have to build, so that it needs no plugin for it.

    Raises:
        ConfigError: a file of the workspace is wrong.
        SlipwayError: the registry does not answer, or a build failed.
    """
    _build_and_push(context, _missing_images(context.workspace, _inline_services(context.workspace, stack)), reporter)


def build_image(context: RunContext, service: Service, reporter: Reporter) -> str:
    """Return the image of a service as its sources are now, by digest, after building and pushing what is missing.

    Raises:
        ConfigError: a file of the workspace is wrong.
        SlipwayError: the registry does not answer, or the build failed.
    """
    if service.settings.image:
        return service.settings.image
    saved_state = build_state.load(context.workspace.root)
    stat_cache = build_state.open_stat_cache(context.workspace.root, saved_state)
    [plan] = build.plan_builds(context.workspace, [service], stat_cache)
    build_state.save(context.workspace.root, stat_cache)
    if not plan.pushed_digest:
        _build_and_push(context, [plan], reporter)
    digest = registry.resolve_digests([plan.tag], context.workspace)[plan.tag]
    if not digest:
        raise SlipwayError(f"the registry does not have {plan.tag}, which was pushed", remedy="Run it again.")
    return f"{context.workspace.repository(service.name)}@{digest}"


def _inline_services(workspace: Workspace, stack: Stack) -> list[Service]:
    locked_entries = lock.load(workspace.root, stack.name).services if stack.mode == "hybrid" else {}
    return [service for service in workspace.services if service.name not in locked_entries]


def _missing_images(workspace: Workspace, services: Sequence[Service]) -> list[BuildPlan]:
    """Return what the registry does not have yet of services' present images."""
    saved_state = build_state.load(workspace.root)
    stat_cache = build_state.open_stat_cache(workspace.root, saved_state)
    missing = [
        plan
        for plan in build.plan_builds(workspace, services, stat_cache, saved_state.images)
        if not plan.pushed_digest
    ]
    build_state.save(workspace.root, stat_cache)  # Pulumi's program reads the same files next
    return missing


def _build_and_push(context: RunContext, missing: Sequence[BuildPlan], reporter: Reporter) -> None:
    with workspace_lock(context.workspace, reporter):
        build.build_missing(context, missing, reporter)
        for plan in missing:
            build.upload_image(context, plan, reporter)


def _build_plans(
    workspace: Workspace, plans: list[BuildPlan], reporter: Reporter, local: bool, replan: Callable[[], list[BuildPlan]]
) -> list[BuildPlan]:
    """Build what the plan needs; return the plan, made again where preparing the builder has changed a base."""
    context = current_environment(workspace)
    if any(plan.is_needed or (local and not plan.is_built) for plan in plans):
        old_lock = bases_lock.load(workspace.root)
        context = prepare_environment(workspace, reporter, building=True)
        plans = plans if bases_lock.load(workspace.root) == old_lock else replan()
    with workspace_lock(workspace, reporter):
        build.build_missing(context, plans, reporter, local=local)
    return plans
