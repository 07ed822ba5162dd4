"""Verbs for the workspace itself: setup, doctor, new."""

from __future__ import annotations

from invoke.context import Context

from slipway.model.location import workspace_root
from slipway.tasks.verb import verb


@verb(
    help={
        "no-install": "Install nothing: say what is missing and how to get it.",
        "fresh": "Build hardened bases again although they are there, with the packages of today.",
    }
)
def setup(context: Context, no_install: bool = False, fresh: bool = False) -> None:
    """Get and start what is missing: engine, tools, bases."""
    from slipway.flows.ground import ground
    from slipway.model.workspace import load
    from slipway.tasks import show

    with show.progress("Setting up") as report:
        ground(load(workspace_root()), report, building=True, install=not no_install, fresh=fresh)
    show.say("[green]✔[/] Everything is there. Next: [bold]invoke up[/]")


@verb(help={"json": "Print the findings as JSON."})
def doctor(context: Context, json: bool = False) -> None:
    """Say what is there, what is wrong, and the remedy."""
    from invoke.exceptions import Exit

    from slipway.flows import gatefacts
    from slipway.model.workspace import load
    from slipway.tasks import show
    from slipway.toolchain.doctor import facts

    workspace = load(workspace_root())
    found = [*facts(workspace), *gatefacts.facts(workspace)]
    if json:
        show.as_json([{"name": fact.name, "ok": fact.ok, "found": fact.found, "remedy": fact.remedy} for fact in found])
    else:
        marks = {True: "[green]✔[/]", False: "[red]✘[/]"}
        show.table(
            ("", "what", "found", "remedy"),
            [(marks[fact.ok], fact.name, fact.found, fact.remedy) for fact in found],
        )
    if not all(fact.ok for fact in found):
        raise Exit(code=1)


@verb(
    help={
        "name": "The service's name, a DNS label such as `orders`; also its folder under services/.",
        "kind": "python-api, node-web or worker.",
    }
)
def new(context: Context, name: str, kind: str = "python-api") -> None:
    """Add a service: invoke new orders --kind python-api."""
    from slipway.flows.new import create
    from slipway.tasks import show

    folder = create(workspace_root(), name, kind)
    show.say(f"[green]✔[/] {folder.relative_to(workspace_root())} is a {kind}. Next: [bold]invoke up[/]")
