"""The verb of the inner loop: dev."""

from __future__ import annotations

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import SERVICES_HELP, verb


@verb(
    positional=["services"],
    optional=["services"],
    help={
        "services": SERVICES_HELP,
        "stack": "The stack to work on.",
        "sync": "Copy sources into the containers where a service's [dev] sync allows it, instead of building.",
        "yes": "Answer yes to every question: a dead deploy's lock is removed.",
    },
)
def dev(
    context: Context, services: str | None = None, stack: str = "dev", sync: bool = False, yes: bool = False
) -> None:
    """Watch, and serve each change within seconds; all logs in one place."""
    from slipway._internal.dev import loop as flow
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release.deploy import load_stack
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    stack_config = load_stack(workspace, stack)
    chosen = [service.name for service in workspace.select_services(services)] if services else []
    with show.dev_console([*chosen] or [service.name for service in workspace.services]) as console:
        flow.run_dev_session(workspace, stack_config, chosen, console, syncing=sync, consent=show.consent(yes))
