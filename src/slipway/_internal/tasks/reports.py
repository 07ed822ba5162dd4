"""Verbs that read the records: the report, and the advice of `invoke mode --advise`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import verb

if TYPE_CHECKING:
    from slipway._internal.model.workspace import Workspace


@verb(
    help={
        "last": "build or deploy: the last one of these. Default: whichever was last.",
        "json": "Print the facts as JSON instead of making the page.",
        "out": "The page's file. Default: .slipway/report.html.",
    }
)
def report(context: Context, last: str | None = None, json: bool = False, out: str | None = None) -> None:
    """Show where the last build's or deploy's time went, as a page."""
    from pathlib import Path

    from slipway._internal.insight import html_report as flow
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    facts = flow.collect_last_run(workspace, last)
    if json:
        return show.as_json(facts)
    path = flow.write_report(workspace, facts, Path(out) if out else None)
    return show.say(f"[green]✔[/] {facts['title']}: {path}")


def print_advice(workspace: Workspace, mode: str | None, stack: str | None, *, as_json: bool) -> None:
    """Print which mode suits each stack, and why.

    Raises:
        ConfigError: a mode to switch to is named, too; or the stack is unknown.
    """
    from slipway._internal.insight.advice import advise_modes
    from slipway._internal.model.errors import ConfigError
    from slipway._internal.tasks import show

    if mode:
        raise ConfigError("--advise switches nothing", remedy=f"Leave out `{mode}`, or leave out --advise to switch.")
    lines = advise_modes(workspace, stack)
    if as_json:
        return show.as_json([line.as_dict() for line in lines])
    return show.table(
        ("stack", "now", "advised", "why", "to do"),
        [(line.profile.stack, line.profile.mode, line.advised, line.why, line.command or "keep it") for line in lines],
    )
