"""Verbs for images: build, push, and the mode that says where a stack takes them from."""

from __future__ import annotations

from invoke import Context

from slipway.tasks.verb import ROOT, verb


@verb(
    iterable=["service"],
    help={
        "service": "Only this service; may be given several times. Default: all.",
        "why": "Say what changed in each digest since the last build.",
        "dry": "Say what would be built, and build nothing.",
    },
)
def build(context: Context, service: list[str] | None = None, why: bool = False, dry: bool = False) -> None:
    """Build what changed, in parallel, outside Pulumi: OCI images in .slipway/oci, ready for `invoke push`."""
    from slipway.flows import build as flow
    from slipway.flows.ground import ground
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(ROOT)
    with show.progress("Building") as report:
        here = ground(workspace, report, building=True)
        plan = flow.plan(here, workspace.chosen(service or []))
        if not dry:
            flow.build(here, plan, report)
    show.table(
        ("service", "content digest", "image"),
        [(each.service.name, each.content[:12], each.told(dry)) for each in plan],
    )
    if why:
        show.table(("service", "why"), [(each.service.name, line) for each in plan for line in each.why])


@verb(
    iterable=["service"],
    help={
        "stack": "The stack whose lock remembers the digests.",
        "service": "Only this service; may be given several times. Default: all.",
        "dry": "Say what would be pushed and locked, and do neither.",
    },
)
def push(context: Context, stack: str = "dev", service: list[str] | None = None, dry: bool = False) -> None:
    """Push what was built, by digest, and record it in deploy/STACK.lock.json."""
    from slipway.flows import build as flow
    from slipway.flows.ground import ground
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(ROOT)
    with show.progress("Pushing") as report:
        here = ground(workspace, report, building=False)
        pushed = flow.push(here, workspace.chosen(service or []), stack, report, dry=dry)
    show.table(("service", "image", ""), [(each.service, each.ref, each.note) for each in pushed])


@verb(
    positional=["mode"],
    optional=["mode"],
    help={
        "mode": "inline, external or hybrid; without it, each stack's mode is shown.",
        "stack": "The stack to switch.",
        "json": "Print the modes as JSON.",
        "dry": "Say what would change, digest by digest, and write nothing.",
    },
)
def mode(context: Context, mode: str = "", stack: str = "dev", json: bool = False, dry: bool = False) -> None:
    """Show or switch where a stack's images come from: inline (built by Pulumi), external (locked digests), hybrid."""
    from slipway.flows import mode as flow
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(ROOT)
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
