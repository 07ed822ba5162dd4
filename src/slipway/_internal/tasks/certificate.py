"""The verb for the certificate that a stack's gateway has issued."""

from __future__ import annotations

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import verb

ACTIONS = ("renew", "show")


@verb(
    positional=["action"],
    help={
        "action": "renew: have the certificate issued if it is due, nothing otherwise; show: say which one is served.",
        "stack": "The stack whose gateway it is about.",
        "again": "With renew: ask the authority although it refused not long ago.",
        "json": "With show: print it as JSON.",
    },
)
def certificate(context: Context, action: str, stack: str = "dev", again: bool = False, json: bool = False) -> None:
    """Have the gateway's certificate renewed by ACME, each night say: invoke certificate renew --stack prod."""
    from datetime import UTC, datetime

    from slipway._internal.model import stack as stacks
    from slipway._internal.model.errors import ConfigError
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release import certificates
    from slipway._internal.tasks import show

    if action not in ACTIONS:
        raise ConfigError(f"unknown action {action!r:.40}", remedy=f"Use {' or '.join(ACTIONS)}.")
    workspace, config = load_workspace(workspace_root()), stacks.load(workspace_root(), stack, {})
    if action == "show":
        served = certificates.served_certificate(workspace, config)
        if json:
            return show.as_json(certificates.describe_certificate(served, datetime.now(UTC)) if served else None)
        if served is None:
            return show.say(f"The gateway of {stack} serves no certificate.")
        return show.say(f"{', '.join(served.names)}: ends at {served.ends:%Y-%m-%d %H:%M} UTC.")
    with show.progress(f"Renewing the certificate of {stack}") as reporter:
        result = certificates.renew_certificate(workspace, config, reporter, again=again)
    what = "was issued" if result.issued else "is not due"
    return show.say(
        f"[green]✔[/] {', '.join(result.certificate.names)}: the certificate {what}, and ends at "
        f"{result.certificate.ends:%Y-%m-%d %H:%M} UTC."
    )
