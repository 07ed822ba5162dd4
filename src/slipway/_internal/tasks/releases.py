"""Verbs for releases: releases, rollback, promote."""

from __future__ import annotations

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import verb


@verb(help={"stack": "The stack to look at.", "json": "Print them as JSON, all that are kept."})
def releases(context: Context, stack: str = "dev", json: bool = False) -> None:
    """Show the last twenty releases: when, who, what, how they ended."""
    from slipway._internal.build.environment import prepare_tools
    from slipway._internal.context.reporter import NullReporter
    from slipway._internal.context.run_context import current_environment
    from slipway._internal.model import stack as stacks
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release import canaries
    from slipway._internal.release import releases as flow
    from slipway._internal.release.canary_guard import list_steps
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    stack_config = stacks.load(workspace_root(), stack, {})
    prepare_tools(workspace, NullReporter(), install=True)
    history = flow.list_releases(current_environment(workspace), stack_config)
    if json:
        return show.as_json([entry.as_dict() for entry in history])
    if not history:
        return show.say(f"Nothing was deployed in {stack}. [bold]{stacks.how_to_deploy(stack)}[/] does it.")
    colours = {"live": "green", "failed": "red", "deploying": "yellow"}
    show.table(
        ("release", "time", "actor", "commit", "mode", "result", "images"),
        [
            (
                entry.id,
                entry.local_time,
                entry.actor,
                entry.short_commit,
                entry.mode,
                f"[{colours.get(entry.result, 'default')}]{entry.result}[/]",
                entry.images_summary,
            )
            for entry in flow.recent_releases(history)
        ],
    )
    if steps := list_steps(workspace, stack_config)[: canaries.SHOWN_STEPS]:
        show.table(canaries.STEP_COLUMNS, [canaries.step_cells(step) for step in steps])
    return None


@verb(
    positional=["release"],
    optional=["release"],
    help={
        "release": "The release to go back to, as `invoke releases` names it. Default: the last good one.",
        "stack": "The stack that goes back.",
        "yes": "Answer yes to every question, also to changing a protected stack.",
        "dry": "Say what would run, verify that it can, and change nothing.",
    },
)
def rollback(
    context: Context, release: str | None = None, stack: str = "dev", yes: bool = False, dry: bool = False
) -> None:
    """Go back to the last good release or a named one. Builds nothing."""
    from datetime import UTC, datetime

    from slipway._internal.build.environment import prepare_environment, required_gate_tools
    from slipway._internal.context.reporter import NullReporter
    from slipway._internal.insight.run_recorder import record_run
    from slipway._internal.model import stack as stacks
    from slipway._internal.model.errors import SlipwayError
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release import rollback as flow
    from slipway._internal.release.deploy import ask_when_protected
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    stack_config = stacks.load(workspace_root(), stack, {})
    with show.progress(f"Looking at {stack}") as reporter:
        run_context = prepare_environment(
            workspace, reporter, building=False, gate=required_gate_tools(stack_config), stack=stack_config
        )
        plan = flow.plan_release_rollback(run_context, stack_config, release)
    show.table(("service", "runs now", "will run", ""), [step.as_row for step in plan.steps])
    for line in plan.summary_lines():
        show.say(line)
    if dry:
        flow.resolve_entries(run_context, plan, NullReporter(), today=datetime.now(UTC).date())
        return
    ask_when_protected(stack_config, f"Take the protected stack {stack} back to {plan.release.id}?", show.consent(yes))
    with record_run(workspace, "rollback", stack_config), show.progress(f"Rolling {stack} back") as reporter:
        result = flow.execute_rollback(run_context, plan, reporter, show.consent(yes), today=datetime.now(UTC).date())
    show.deploy_result(result)
    if not result.healthy:
        raise SlipwayError(
            f"{stack} runs {plan.release.id} again, but not everything answers",
            remedy=f"`invoke logs SERVICE --stack {stack}` shows what a service says.",
        )


@verb(
    help={
        "from": "The stack whose digests are promoted.",
        "to": "The stack that gets them.",
        "yes": "Do not ask, even where the receiving stack is protected.",
        "dry": "Verify and say what would be locked, and change nothing.",
    }
)
def promote(
    context: Context, from_: str | None = None, to: str | None = None, yes: bool = False, dry: bool = False
) -> None:
    """Lock the same bytes for the next stack, evidence verified."""
    from datetime import UTC, datetime

    from slipway._internal.build.environment import SIGNER, prepare_environment
    from slipway._internal.context.protection import refuse_lost_protection
    from slipway._internal.context.workspace_lock import workspace_lock
    from slipway._internal.model import stack as stacks
    from slipway._internal.model.errors import ConfigError
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release import promotions as flow
    from slipway._internal.release.deploy import ask_when_protected
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    if not from_ or not to:
        raise ConfigError(
            "the two stacks of a promotion must differ", remedy="`invoke promote --from staging --to prod`"
        )
    source, target = (stacks.load(workspace_root(), name, {}) for name in (from_, to))
    refuse_lost_protection(workspace, target)  # before tools are fetched for it
    with show.progress(f"Promoting to {to}") as reporter:
        run_context = prepare_environment(workspace, reporter, building=False, gate=(SIGNER,), stack=target)
        promotion = flow.plan_promotion(run_context, source, target)
        if dry:
            flow.verify_promotion(run_context, promotion, reporter, today=datetime.now(UTC).date())
    show.table(("service", "locked now", "image", ""), [step.as_row for step in promotion.steps])
    if not dry:
        if promotion.has_changes:
            ask_when_protected(target, f"Lock the protected stack {to} to the digests of {from_}?", show.consent(yes))
        with show.progress(f"Promoting to {to}") as reporter, workspace_lock(workspace, reporter):
            flow.execute_promotion(run_context, promotion, reporter, today=datetime.now(UTC).date())
    show.say(f"[green]✔[/] {promotion.summary(dry)}")
