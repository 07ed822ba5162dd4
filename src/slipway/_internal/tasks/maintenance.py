"""The verb by which the gateway answers in place of services."""

from __future__ import annotations

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import verb


@verb(
    positional=["action"],
    help={
        "action": "on or off.",
        "service": "Only this service; default: all that the gateway serves.",
        "stack": "The stack whose gateway it is about.",
        "retry-after": "The seconds after which callers are told to come again.",
        "yes": "Do it without asking, if the stack is protected.",
    },
)
def maintenance(
    context: Context, action: str, service: str = "", stack: str = "dev", retry_after: int = 300, yes: bool = False
) -> None:
    """Have the gateway answer 503 in place of services, or end that: invoke maintenance on --stack prod."""
    from slipway._internal.model import stack as stacks
    from slipway._internal.model.errors import ConfigError
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release.deploy import ask_when_protected
    from slipway._internal.release.maintenance import switch_maintenance
    from slipway._internal.tasks import show

    if action not in ("on", "off"):
        raise ConfigError(f"{action!r:.40} is neither on nor off", remedy="Write one of the two words.")
    if not 1 <= retry_after <= 86400:
        raise ConfigError(f"--retry-after is {retry_after}", remedy="Write seconds, 1 to 86400.")
    workspace, config = load_workspace(workspace_root()), stacks.load(workspace_root(), stack, {})
    what = service or "all services"
    question = f"Begin maintenance of {what} in" if action == "on" else f"End maintenance of {what} in"
    ask_when_protected(config, f"{question} the protected stack {stack}?", show.consent(yes))
    left = switch_maintenance(workspace, config, service, on=action == "on", retry_after=retry_after)
    if left is None:
        return show.say(f"Nothing in {stack} is in maintenance: services answer.")
    names, end = ", ".join(left.services) or "All services", f"invoke maintenance off --stack {stack}"
    return show.say(f"{names} in {stack}: the gateway answers 503, also after a deploy, until [bold]{end}[/].")
