"""Verbs for images: build, push, and the mode that says where a stack takes them from."""

from __future__ import annotations

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import SERVICES_HELP, verb


@verb(
    positional=["services"],
    optional=["services"],
    help={
        "services": SERVICES_HELP,
        "why": "Say what changed in each digest since the last build.",
        "local": "Also build what the registry already has: the gate's steps need the result here.",
        "dry": "Say what would be built, and build nothing.",
    },
)
def build(
    context: Context, services: str | None = None, why: bool = False, local: bool = False, dry: bool = False
) -> None:
    """Build what changed, outside Pulumi, ready to push."""
    from slipway._internal.build.fast_path import find_unchanged
    from slipway._internal.tasks import show

    images = None if local else find_unchanged(workspace_root(), services)
    if images is not None:
        return show.unchanged_images(images)

    from slipway._internal.build.build_command import build_services

    with show.progress("Building") as reporter:
        result = build_services(workspace_root(), services, reporter, local=local, dry=dry, explain=why)
    show.table(
        ("service", "content digest", "image"),
        [(plan.service.name, plan.content[:12], show.short_digests(plan.summary(dry))) for plan in result.plans],
    )
    if why:
        show.table(("service", "why"), [(name, line) for name, lines in result.reasons.items() for line in lines])
    return None


@verb(
    positional=["services"],
    optional=["services"],
    help={
        "stack": "The stack whose lock records the digests.",
        "services": SERVICES_HELP,
        "dry": "Say what would be pushed and locked, and do neither.",
    },
)
def push(context: Context, services: str | None = None, stack: str = "dev", dry: bool = False) -> None:
    """Push what was built, and lock it; a protected stack's must have passed the gate's steps."""
    from slipway._internal.build import build as flow
    from slipway._internal.build.environment import prepare_environment
    from slipway._internal.context.protection import refuse_lost_protection
    from slipway._internal.context.workspace_lock import workspace_lock
    from slipway._internal.gate import gate
    from slipway._internal.insight.run_recorder import RecordingReporter, record_run
    from slipway._internal.model import stack as stacks
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    chosen = workspace.select_services(services)
    stack_config = stacks.load(workspace_root(), stack, {})
    refuse_lost_protection(workspace, stack_config)
    with (
        record_run(workspace, "push", stack_config, from_process_start=True) as recorder,
        show.progress("Pushing") as progress,
    ):
        reporter = RecordingReporter(progress, recorder)
        run_context = prepare_environment(workspace, reporter, building=False)
        with workspace_lock(workspace, reporter):
            if stack_config.protected:
                images = gate.push_passed(run_context, chosen, stack_config, reporter, dry=dry)
            else:
                images = flow.push_images(run_context, chosen, stack, reporter, dry=dry)
    show.shipped_images(images)


@verb(
    positional=["mode"],
    optional=["mode"],
    help={
        "mode": "inline, external or hybrid; without it, each stack's mode is shown.",
        "stack": "The stack to show or switch. Default: all are shown, and dev is switched.",
        "json": "Print the modes, or the advice, as JSON.",
        "advise": "Say which mode suits each stack, by the records of builds and deploys.",
        "dry": "Say what would change, digest by digest, and write nothing.",
    },
)
def mode(
    context: Context,
    mode: str | None = None,
    stack: str | None = None,
    json: bool = False,
    dry: bool = False,
    advise: bool = False,
) -> None:
    """Show or switch where images come from: inline, external, hybrid."""
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release import image_mode as flow
    from slipway._internal.tasks import reports, show

    workspace = load_workspace(workspace_root())
    if advise:
        return reports.print_advice(workspace, mode, stack, as_json=json)
    if not mode:
        modes = flow.list_modes(workspace, stack)
        if json:
            return show.as_json([item.as_dict() for item in modes])
        return show.table(
            ("stack", "images", "target", "protected"),
            [(item.name, item.summary, item.target, "yes" if item.protected else "no") for item in modes],
        )
    switch = flow.plan_switch(workspace, stack or "dev", mode)
    show.table(
        ("service", "runs now", f"with {mode}"),
        [(item.service, item.current, item.after_switch) for item in switch.changes],
    )
    if not dry:
        flow.write_switch(switch)
    show.say(switch.summary(dry))
    return None
