"""The verb of the inner loop: dev."""

from __future__ import annotations

from invoke.context import Context

from slipway.model.location import workspace_root
from slipway.tasks.verb import CHOSEN, verb


@verb(
    positional=["services"],
    optional=["services"],
    help={
        "services": CHOSEN,
        "stack": "The stack to work on.",
        "sync": "Copy sources into the containers where a service's [dev] sync allows it, instead of building.",
        "yes": "Answer yes to every question: a dead deploy's lock is removed.",
    },
)
def dev(
    context: Context, services: str | None = None, stack: str = "dev", sync: bool = False, yes: bool = False
) -> None:
    """Watch, and serve each change within seconds; all logs in one place."""
    from slipway.flows import dev as flow
    from slipway.flows.deploy import chosen_stack
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    target = chosen_stack(workspace, stack)
    chosen = [service.name for service in workspace.chosen(services)] if services else []
    with show.voice([*chosen] or [service.name for service in workspace.services]) as voice:
        flow.work(workspace, target, chosen, voice, syncing=sync, yes=show.consent(yes))
