"""Verbs for images: build, push, and the mode that says where a stack takes them from."""

from __future__ import annotations

from invoke.context import Context

from slipway.model.location import workspace_root
from slipway.tasks.verb import CHOSEN, verb


@verb(
    positional=["services"],
    optional=["services"],
    help={
        "services": CHOSEN,
        "why": "Say what changed in each digest since the last build.",
        "local": "Build also what the registry has already: the gate's steps need the result here.",
        "dry": "Say what would be built, and build nothing.",
    },
)
def build(
    context: Context, services: str | None = None, why: bool = False, local: bool = False, dry: bool = False
) -> None:
    """Build what changed, outside Pulumi, ready to push."""
    from slipway.flows.unchanged import unchanged
    from slipway.tasks import show

    images = None if local else unchanged(workspace_root(), services)
    if images is not None:
        return show.unchanged(images)

    from slipway.flows.needed import build_needed

    with show.progress("Building") as report:
        built = build_needed(workspace_root(), services, report, local=local, dry=dry, explain=why)
    show.table(
        ("service", "content digest", "image"),
        [(each.service.name, each.content[:12], each.told(dry)) for each in built.planned],
    )
    if why:
        show.table(("service", "why"), [(name, line) for name, lines in built.why.items() for line in lines])
    return None


@verb(
    positional=["services"],
    optional=["services"],
    help={
        "stack": "The stack whose lock remembers the digests.",
        "services": CHOSEN,
        "dry": "Say what would be pushed and locked, and do neither.",
    },
)
def push(context: Context, services: str | None = None, stack: str = "dev", dry: bool = False) -> None:
    """Push what was built, and lock it; a protected stack's must have passed the gate's steps."""
    from slipway.flows import build as flow
    from slipway.flows import gate
    from slipway.flows.ground import ground
    from slipway.flows.protection import refuse_lost_protection
    from slipway.flows.recording import Heard, recorded
    from slipway.flows.turn import turn
    from slipway.model import stack as stacks
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    chosen = workspace.chosen(services)
    target = stacks.load(workspace_root(), stack, {})
    refuse_lost_protection(workspace, target)
    with recorded(workspace, "push", target, whole=True) as record, show.progress("Pushing") as live:
        report = Heard(live, record)
        here = ground(workspace, report, building=False)
        with turn(workspace, report):
            if target.protected:
                pushed = gate.push_proven(here, chosen, target, report, dry=dry)
            else:
                pushed = flow.push(here, chosen, stack, report, dry=dry)
    show.shipped(pushed)


@verb(
    positional=["mode"],
    optional=["mode"],
    help={
        "mode": "inline, external or hybrid; without it, each stack's mode is shown.",
        "stack": "The stack to switch.",
        "json": "Print the modes, or the advice, as JSON.",
        "advise": "Say which mode suits each stack, by the records of builds and deploys.",
        "dry": "Say what would change, digest by digest, and write nothing.",
    },
)
def mode(
    context: Context,
    mode: str | None = None,
    stack: str = "dev",
    json: bool = False,
    dry: bool = False,
    advise: bool = False,
) -> None:
    """Show or switch where images come from: inline, external, hybrid."""
    from slipway.flows import mode as flow
    from slipway.model.workspace import load
    from slipway.tasks import reports, show

    workspace = load(workspace_root())
    if advise:
        return reports.advice(workspace, mode, as_json=json)
    if not mode:
        modes = flow.modes(workspace)
        if json:
            return show.as_json([each.as_dict() for each in modes])
        return show.table(
            ("stack", "images", "target", "protected"),
            [(each.name, each.told, each.target, "yes" if each.protected else "no") for each in modes],
        )
    switch = flow.plan(workspace, stack, mode)
    show.table(
        ("service", "runs now", f"with {mode}"),
        [(each.service, each.now, each.then) for each in switch.changes],
    )
    if not dry:
        flow.write(switch)
    show.say(switch.told(dry))
    return None
