"""Verbs that change what runs: up, deploy, preview, down."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from invoke.context import Context

from slipway.model.location import workspace_root
from slipway.tasks.verb import verb

if TYPE_CHECKING:
    from slipway.flows.deploy import Deployed
    from slipway.model.stack import Stack
    from slipway.model.workspace import Workspace


UNPROTECTED = "Deploy a stack that was protected and by its file is not any more; --yes alone does not."


@verb(
    optional=["beside"],
    help={
        "stack": "The stack to deploy.",
        "beside": "Run beside another folder of this workspace, under names and at a port of its own: --beside [NAME].",
        "yes": "Answer yes to every question: a dead deploy's lock is removed.",
        "dry": "Say what would change, and change nothing.",
        "no-install": "Install nothing: say what is missing and how to get it.",
        "json": "Print the result as JSON.",
        "unprotect": UNPROTECTED,
    },
)
def up(
    context: Context,
    stack: str = "dev",
    beside: str | bool | None = None,
    yes: bool = False,
    dry: bool = False,
    no_install: bool = False,
    json: bool = False,
    unprotect: bool = False,
) -> None:
    """Set up, build what changed, deploy, print the URLs."""
    if dry:
        return _preview(stack, install=not no_install)
    if beside:
        _beside(stack, str(beside) if beside is not True else None, json=json)
    return _deploy(stack, yes=yes, install=not no_install, json=json, unprotect=unprotect)


@verb(
    help={
        "stack": "The stack to deploy.",
        "yes": "Answer yes to every question, also to deploying a protected stack.",
        "dry": "Say what would change, and change nothing.",
        "json": "Print the result as JSON.",
        "unprotect": UNPROTECTED,
    }
)
def deploy(
    context: Context,
    stack: str = "dev",
    yes: bool = False,
    dry: bool = False,
    json: bool = False,
    unprotect: bool = False,
) -> None:
    """Deploy a stack, from the images that its mode says."""
    if dry:
        return _preview(stack, install=True)
    return _deploy(stack, yes=yes, install=True, json=json, unprotect=unprotect)


@verb(help={"stack": "The stack to look at."})
def preview(context: Context, stack: str = "dev") -> None:
    """Show what a deploy would change. Builds nothing."""
    _preview(stack, install=True)


@verb(
    help={
        "stack": "The stack whose services go.",
        "yes": "Do not ask, also where the stack is protected.",
        "dry": "Say what would be removed, and remove nothing.",
        "machine": "Also end the registry, builder and Docker engine that Slipway started on this machine.",
        "abandoned": "Also remove what another folder of this workspace has left running that is gone.",
    }
)
def down(
    context: Context,
    stack: str = "dev",
    yes: bool = False,
    dry: bool = False,
    machine: bool = False,
    abandoned: bool = False,
) -> None:
    """Remove what a stack runs; images and state stay."""
    from slipway.flows import deploy as flow
    from slipway.flows import machine as daemons
    from slipway.flows.places import place_of
    from slipway.flows.protection import was_protected
    from slipway.flows.standing import standing
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    target = flow.chosen_stack(workspace, stack)
    if dry:
        return show.table(("would be removed", "image"), place_of(workspace, target).running())
    if was_protected(workspace, stack):
        target = replace(target, protected=True, images="external")
    flow.ask_when_protected(target, f"Remove everything that runs in the protected stack {stack}?", show.consent(yes))
    with show.progress(f"Removing {stack}") as report:
        outcome = flow.remove(standing(workspace), target, report, show.consent(yes), also_abandoned=abandoned)
        if machine:
            daemons.stop(workspace, report)
    removed = outcome.operations.get("delete", 0)
    return show.say(f"[green]✔[/] {stack}: {f'{removed} resources removed' if removed else 'nothing was running'}.")


@verb(
    help={
        "stack": "The stack whose lock goes.",
        "yes": "Do not ask.",
    }
)
def unlock(context: Context, stack: str = "dev", yes: bool = False) -> None:
    """Remove the lock of a deploy that has ended on another machine."""
    from slipway.flows import deploy as flow
    from slipway.flows.locks import unlock as remove_locks
    from slipway.flows.standing import standing
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    door = flow.opened(standing(workspace), flow.chosen_stack(workspace, stack))
    with show.progress(f"Unlocking {stack}") as report:
        found = remove_locks(door, show.consent(yes), report)
    show.say(f"[green]✔[/] {stack}: {'it is free' if found else 'nobody held a lock'}.")


def _beside(stack: str, name: str | None, *, json: bool) -> None:
    from slipway.flows import deploy as flow
    from slipway.flows.report import Silence
    from slipway.flows.side_by_side import run_beside
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    with show.progress(f"Making room for {stack}") as live:
        run_beside(workspace, flow.chosen_stack(workspace, stack), name, Silence() if json else live)


def _deploy(stack: str, *, yes: bool, install: bool, json: bool, unprotect: bool) -> None:
    from slipway.flows import deploy as flow
    from slipway.flows.protection import refuse_lost_protection, unprotecting
    from slipway.model.errors import SlipwayError
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    target = flow.chosen_stack(workspace, stack)
    _say_override(target)
    with unprotecting(stack, wanted=unprotect):
        refuse_lost_protection(workspace, target)
        flow.ask_when_protected(target, f"Deploy the protected stack {stack}?", show.consent(yes))
        deployed = _carry_out(workspace, target, yes=yes, install=install, json=json)
    show.as_json(deployed.as_dict()) if json else show.deployed(deployed)
    if not deployed.healthy:
        raise SlipwayError(
            f"{stack} is deployed, but not everything answers",
            remedy=f"`invoke logs SERVICE --stack {stack}` shows what a service says.",
        )


def _carry_out(workspace: Workspace, target: Stack, *, yes: bool, install: bool, json: bool) -> Deployed:
    from slipway.flows import deploy as flow
    from slipway.flows.ground import gate_of, ground
    from slipway.flows.recording import recorded
    from slipway.flows.report import Silence
    from slipway.flows.standing import standing
    from slipway.tasks import show

    with (
        recorded(workspace, "deploy", target, whole=True),
        show.progress(f"Deploying {target.name}") as live,
    ):
        report = Silence() if json else live
        building = target.images != "external"
        flow.refuse_others_at_first(standing(workspace), target)
        here = ground(workspace, report, building=building, install=install, gate=gate_of(target), stack=target)
        if building:
            from slipway.flows.needed import build_many

            build_many(here, target, report)
        return flow.deploy(here, target, report, show.consent(yes))


def _preview(stack: str, *, install: bool) -> None:
    from slipway.flows import deploy as flow
    from slipway.flows.ground import ground
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    target = flow.chosen_stack(workspace, stack)
    _say_override(target)
    with show.progress(f"Previewing {stack}") as report:
        here = ground(workspace, report, building=target.images != "external", install=install, stack=target)
        report.step(stack, "asking Pulumi what would change")
        diff, outcome = flow.preview(here, target)
        report.done(stack, "asked Pulumi what would change")
    for line in diff:
        show.plain(line)
    counted = ", ".join(
        f"{count} to {operation}" for operation, count in outcome.operations.items() if operation != "same"
    )
    show.say(f"[green]✔[/] {stack}: {counted or 'nothing would change'}.")


def _say_override(stack: Stack) -> None:
    from slipway.tasks import show

    if stack.overridden:
        show.note(f"[yellow]SLIPWAY_IMAGES={stack.images} overrides the mode of {stack.name} for this run.[/]")
