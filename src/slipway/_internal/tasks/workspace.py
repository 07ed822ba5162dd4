"""Verbs for the workspace itself: setup, doctor, new."""

from __future__ import annotations

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import verb

KIND_HELP = (
    "ai-gateway, go-api, java-api, job, ml-inference, node-web, postgres, python-api, rabbitmq, static-web, valkey, "
    "worker. "
    "Your own, in kinds/: "
)
"""What `new` says of `kind`, before the names of a workspace's own."""


@verb(
    help={
        "no-install": "Install nothing: say what is missing and how to get it.",
        "fresh": "Build hardened bases again, with today's packages.",
    }
)
def setup(context: Context, no_install: bool = False, fresh: bool = False) -> None:
    """Get and start what is missing: engine, tools, bases."""
    from slipway._internal.build.environment import prepare_environment
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.tasks import show

    with show.progress("Setting up") as reporter:
        prepare_environment(
            load_workspace(workspace_root()), reporter, building=True, install=not no_install, fresh=fresh
        )
    show.say("[green]✔[/] Everything is there. Next: [bold]invoke up[/]")


@verb(help={"json": "Print the findings as JSON."})
def doctor(context: Context, json: bool = False) -> None:
    """Say what is there, what is wrong, and the remedy."""
    from invoke.exceptions import Exit

    from slipway._internal.build.frontend_doctor import frontend_facts
    from slipway._internal.build.service_doctor import service_facts
    from slipway._internal.gate import gate_doctor
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release.certificates import certificate_facts
    from slipway._internal.scaffold.update import interrupted_update
    from slipway._internal.tasks import show
    from slipway._internal.toolchain.doctor import run_checks

    workspace = load_workspace(workspace_root())
    results = [
        *run_checks(workspace),
        *frontend_facts(workspace),
        *service_facts(workspace),
        *gate_doctor.gate_facts(workspace),
        *certificate_facts(workspace),
        *interrupted_update(workspace.root),
    ]
    if json:
        show.as_json(
            [{"name": fact.name, "ok": fact.ok, "found": fact.found, "remedy": fact.remedy} for fact in results]
        )
    else:
        marks = {True: "[green]✔[/]", False: "[red]✘[/]"}
        show.table(
            ("", "what", "found", "remedy"),
            [(marks[fact.ok], fact.name, fact.found, fact.remedy) for fact in results],
        )
    if not all(fact.ok for fact in results):
        raise Exit(code=1)


@verb(
    help={
        "name": "The service's name, a DNS label such as `orders`; also its folder under services/.",
        "kind": KIND_HELP,
    }
)
def new(context: Context, name: str, kind: str = "python-api") -> None:
    """Add a service: invoke new orders --kind python-api."""
    from slipway._internal.model.workspace import read_service
    from slipway._internal.scaffold.service_creation import create_service
    from slipway._internal.tasks import show

    root = workspace_root()
    folder = create_service(root, name, kind, check=lambda folder: read_service(root, name, folder))
    show.say(f"[green]✔[/] {folder.relative_to(root)} is a {kind}. Next: [bold]invoke up[/]")
