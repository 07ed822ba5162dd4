"""Verbs that only read: status, logs, routes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import verb


@verb(help={"stack": "The stack to look at.", "json": "Print it as JSON."})
def status(context: Context, stack: str = "dev", json: bool = False) -> None:
    """Show what runs, its health and its drift."""
    from slipway._internal.model.stack import how_to_deploy
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release.status import read_stack_status
    from slipway._internal.tasks import show

    rows = read_stack_status(load_workspace(workspace_root()), stack)
    if json:
        return show.as_json([row.as_dict() for row in rows])
    if not rows:
        return show.say(f"Nothing runs in {stack}. [bold]{how_to_deploy(stack)}[/] starts it.")
    return show.table(rows[0].columns, [row.cells for row in rows])


@verb(
    help={
        "service": "The service, or `gateway`.",
        "stack": "The stack it runs in.",
        "follow": "Keep printing new lines; Ctrl-C ends it.",
        "tail": "How many of the last lines to print.",
        "build": "The log of its last build instead.",
    }
)
def logs(
    context: Context,
    service: str,
    stack: str = "dev",
    follow: bool = False,
    tail: int = 100,
    build: bool = False,
) -> None:
    """Print a service's log: invoke logs api --follow."""
    from contextlib import closing

    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release.status import read_service_logs
    from slipway._internal.run import streams
    from slipway._internal.tasks import show

    streams.end_with_reader()
    with closing(
        read_service_logs(load_workspace(workspace_root()), service, stack, follow=follow, tail=tail, build=build)
    ) as lines:
        for line in lines:
            show.log_line(line)


@verb(
    help={
        "stack": "The stack whose gateway it is about.",
        "test": "A path or URL: say which route a request meets, and what the service gets. Nothing is sent.",
        "method": "The method of that request.",
        "header": "A header of that request, as curl has it: -H 'Name: value'. May be repeated.",
        "from": "The address that it comes from.",
        "engine": "Another gateway (kong, kong-ingress, azure): say what it cannot have of each route.",
        "output": "With --engine: write the routes to this file as that gateway reads them.",
        "json": "Print it as JSON.",
    },
    iterable=["header"],
)
def routes(
    context: Context,
    stack: str = "dev",
    test: str = "",
    method: str = "GET",
    header: Iterable[str] | None = None,
    from_: str = "",
    engine: str = "",
    output: str = "",
    json: bool = False,
) -> None:
    """Show which requests each service gets, and what is changed about them: invoke routes --test /api/items."""
    from slipway._internal.insight import engines, requests
    from slipway._internal.insight.route_rules import RequestFacts
    from slipway._internal.model import stack as stacks
    from slipway._internal.model.files import write_atomically
    from slipway._internal.model.stack_hosts import check_hosts
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release.canary_guard import find_shares
    from slipway._internal.targets.kubernetes.unsupported_rules import refuse_unsupported_rules
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    settings = stacks.load(workspace_root(), stack, {})
    services = [service for service in workspace.services if service.name not in settings.external]
    check_hosts(services, settings)
    if output:
        write_atomically(Path(output), engines.render_for_kong(workspace, services, settings, engine))
        return show.note(f"{output} has the routes for {engine}.")
    if engine:
        found = engines.list_engine_routes(services, settings, engine)
        return (
            show.as_json(found)
            if json
            else show.table(engines.ENGINE_COLUMNS, [engines.engine_cells(row) for row in found])
        )
    if settings.target == "kubernetes":
        refuse_unsupported_rules(workspace, settings, services)
    if test:
        facts = RequestFacts.of(header or (), from_)
        tls_port = stacks.tls_port_of(workspace, settings) if stacks.speaks_tls(settings) else 0
        hosts = stacks.hosts_of_stack(settings)
        fate = requests.find_fate(services, test, method.upper(), hosts, facts, tls_port)
        fate = fate.with_share(find_shares(workspace, settings))
        return show.as_json(fate.as_dict()) if json else show.plain(fate.describe())
    rows = requests.list_routes(services, find_shares(workspace, settings))
    if json:
        return show.as_json([row.as_dict() for row in rows])
    if not rows:
        return show.say('No service has a route. [bold]route = "/NAME"[/] in its service.toml gives it one.')
    return show.table(requests.COLUMNS, [row.cells for row in rows])
