"""Verbs for what was deployed before, and where it goes next: releases, rollback, promote."""

from __future__ import annotations

from invoke.context import Context

from slipway.model.location import workspace_root
from slipway.tasks.verb import verb


@verb(help={"stack": "The stack to look at.", "json": "Print them as JSON, all that are kept."})
def releases(context: Context, stack: str = "dev", json: bool = False) -> None:
    """Show the last twenty releases: when, who, what, how they ended."""
    from slipway.flows import releases as flow
    from slipway.flows.ground import prepare_tools
    from slipway.flows.report import Silence
    from slipway.flows.standing import standing
    from slipway.model import stack as stacks
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    target = stacks.load(workspace_root(), stack, {})
    prepare_tools(workspace, Silence(), install=True)
    lines = flow.releases(standing(workspace), target)
    if json:
        return show.as_json([line.as_dict() for line in lines])
    if not lines:
        return show.say(f"Nothing was deployed in {stack}. [bold]{stacks.how_to_deploy(stack)}[/] does it.")
    colours = {"live": "green", "failed": "red", "deploying": "yellow"}
    return show.table(
        ("release", "time", "actor", "commit", "mode", "result", "images"),
        [
            (
                line.id,
                line.when,
                line.actor,
                line.source,
                line.mode,
                f"[{colours.get(line.result, 'default')}]{line.result}[/]",
                line.images,
            )
            for line in flow.shown(lines)
        ],
    )


@verb(
    positional=["release"],
    optional=["release"],
    help={
        "release": "The release to go back to, as `invoke releases` names it. Default: the last good one.",
        "stack": "The stack that goes back.",
        "yes": "Answer yes to every question, also to changing a protected stack.",
        "dry": "Say what would run, make sure that it could, and change nothing.",
    },
)
def rollback(
    context: Context, release: str | None = None, stack: str = "dev", yes: bool = False, dry: bool = False
) -> None:
    """Go back to the last good release or a named one. Builds nothing."""
    from datetime import UTC, datetime

    from slipway.flows import rollback as flow
    from slipway.flows.deploy import ask_when_protected
    from slipway.flows.ground import gate_of, ground
    from slipway.flows.recording import recorded
    from slipway.flows.report import Silence
    from slipway.model import stack as stacks
    from slipway.model.errors import SlipwayError
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    target = stacks.load(workspace_root(), stack, {})
    with show.progress(f"Looking at {stack}") as report:
        here = ground(workspace, report, building=False, gate=gate_of(target), stack=target)
        back = flow.plan(here, target, release)
    show.table(("service", "runs now", "will run", ""), [move.told for move in back.moves])
    for line in back.told():
        show.say(line)
    if dry:
        flow.entries_of(here, back, Silence(), today=datetime.now(UTC).date())
        return
    ask_when_protected(target, f"Take the protected stack {stack} back to {back.to.id}?", show.consent(yes))
    with recorded(workspace, "rollback", target), show.progress(f"Rolling {stack} back") as report:
        deployed = flow.carry_out(here, back, report, show.consent(yes), today=datetime.now(UTC).date())
    show.deployed(deployed)
    if not deployed.healthy:
        raise SlipwayError(
            f"{stack} runs {back.to.id} again, but not everything answers",
            remedy=f"`invoke logs SERVICE --stack {stack}` shows what a service says.",
        )


@verb(
    help={
        "from": "The stack whose digests go on.",
        "to": "The stack that gets them.",
        "yes": "Do not ask, also where the stack that gets them is protected.",
        "dry": "Verify and say what would be locked, and change nothing.",
    }
)
def promote(
    context: Context, from_: str | None = None, to: str | None = None, yes: bool = False, dry: bool = False
) -> None:
    """Lock the same bytes for the next stack, evidence verified."""
    from datetime import UTC, datetime

    from slipway.flows import promote as flow
    from slipway.flows.deploy import ask_when_protected
    from slipway.flows.ground import SIGNER, ground
    from slipway.flows.protection import refuse_lost_protection
    from slipway.flows.turn import turn
    from slipway.model import stack as stacks
    from slipway.model.errors import ConfigError
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    if not from_ or not to:
        raise ConfigError(
            "a promotion goes from one stack to another", remedy="`invoke promote --from staging --to prod`"
        )
    source, target = (stacks.load(workspace_root(), name, {}) for name in (from_, to))
    refuse_lost_protection(workspace, target)  # before tools are fetched for it
    with show.progress(f"Promoting to {to}") as report:
        here = ground(workspace, report, building=False, gate=(SIGNER,), stack=target)
        promotion = flow.plan(here, source, target)
        if dry:
            flow.verify(here, promotion, report, today=datetime.now(UTC).date())
    show.table(("service", "locked now", "image", ""), [step.told for step in promotion.steps])
    if not dry:
        if promotion.changes:
            ask_when_protected(target, f"Lock the protected stack {to} to the digests of {from_}?", show.consent(yes))
        with show.progress(f"Promoting to {to}") as report, turn(workspace, report):
            flow.carry_out(here, promotion, report, today=datetime.now(UTC).date())
    show.say(f"[green]✔[/] {promotion.told(dry)}")
