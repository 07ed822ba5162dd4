"""The verb for what the gateway for language models has counted."""

from __future__ import annotations

from invoke.context import Context
from invoke.exceptions import Exit

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import verb


@verb(
    positional=["action"],
    help={
        "action": "usage: calls, errors, tokens and cost.",
        "service": "The gateway's service. Default: the only one of kind ai-gateway.",
        "stack": "The stack it runs in.",
        "by": "Add up by these, with commas between them: day,tenant,service,model,prompt. Default: all five.",
        "from": "The first day, such as 2026-12-01. Default: 29 days before the last.",
        "to": "The last day. Default: today, in UTC.",
        "json": "Print it as JSON.",
        "csv": "Print it as CSV.",
    },
)
def ai(
    context: Context,
    action: str,
    service: str | None = None,
    stack: str = "dev",
    by: str = "",
    from_: str = "",
    to: str = "",
    json: bool = False,
    csv: bool = False,
) -> None:
    """Say what language models were used for, and what it has cost: invoke ai usage --by tenant,model."""
    from slipway._internal.model.errors import ConfigError
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release import model_usage

    if action != "usage":
        raise ConfigError(f"unknown action {action!r}", remedy="Use usage.")
    if json and csv:
        raise ConfigError("--json and --csv cannot be used together", remedy="Use one of them.")
    form = "json" if json else "csv" if csv else "table"
    command = model_usage.usage_command(form, by, from_, to)
    raise Exit(code=model_usage.show_usage(load_workspace(workspace_root()), stack, service, command))
