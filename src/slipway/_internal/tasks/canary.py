"""The verb for canaries: a new version of a service that gets a share of its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import verb

if TYPE_CHECKING:
    from slipway._internal.model.stack import Stack
    from slipway._internal.model.workspace import Workspace


@verb(
    positional=["service", "percent"],
    optional=["service", "percent"],
    help={
        "service": "The service. Without one, what canaries there are is shown.",
        "percent": "The share of its requests that the canary gets, 1 to 99.",
        "release": "The earlier release whose image it has. Default: the lock's, or what the working tree builds.",
        "promote": "Have the canary's image replace the service's, and end the canary.",
        "abort": "Send all requests to the service as it was, and end the canary.",
        "stack": "The stack it is about.",
        "list": "Show what canaries there are, and what was done with those that were.",
        "yes": "Answer yes to every question, also to changing a protected stack.",
        "dry": "Say what would be done, and change nothing.",
        "json": "Print it as JSON.",
    },
)
def canary(
    context: Context,
    service: str | None = None,
    percent: str | None = None,
    release: str | None = None,
    promote: bool = False,
    abort: bool = False,
    stack: str = "dev",
    list: bool = False,
    yes: bool = False,
    dry: bool = False,
    json: bool = False,
) -> None:
    """Send a share of a service's requests to its next version: invoke canary api 10, then --promote or --abort."""
    from slipway._internal.model.errors import ConfigError
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release import deploy as flow

    actions = [percent is not None, promote, abort]
    if service is None or list:
        if any(actions) or release or dry or (service is not None):
            raise ConfigError("canaries are shown without other words", remedy="`invoke canary --stack STACK`")
    elif sum(actions) != 1 or (release and percent is None) or not (percent or "0").isdecimal():
        raise ConfigError(
            "`canary` is not called like this",
            remedy=f"There are: canary {service} PERCENT [--release NAME] · canary {service} --promote · "
            f"canary {service} --abort.",
        )
    workspace = load_workspace(workspace_root())
    stack_config = flow.load_stack(workspace, stack)
    if service is None or list:
        return _show(workspace, stack_config, json=json)
    share = int(percent) if percent is not None else None
    return _change(workspace, stack_config, service, share, release, promotes=promote, yes=yes, dry=dry, json=json)


def _show(workspace: Workspace, stack: Stack, *, json: bool) -> None:
    from slipway._internal.build.environment import prepare_tools
    from slipway._internal.context.reporter import NullReporter
    from slipway._internal.context.run_context import current_environment
    from slipway._internal.release import canaries
    from slipway._internal.tasks import show

    prepare_tools(workspace, NullReporter(), install=True)
    found = canaries.read_canaries(current_environment(workspace), stack)
    if json:
        rows, steps = ([each.as_dict() for each in group] for group in (found.rows, found.steps))
        return show.as_json({"canaries": rows, "steps": steps})
    if found.rows:
        show.table(canaries.COLUMNS, [row.cells for row in found.rows])
    else:
        show.say(
            f"No service has a canary in {stack.name}. [bold]invoke canary SERVICE 10 --stack {stack.name}[/] begins."
        )
    if found.steps:
        show.table(canaries.STEP_COLUMNS, [canaries.step_cells(step) for step in found.steps[: canaries.SHOWN_STEPS]])
    return None


def _change(
    workspace: Workspace,
    stack: Stack,
    service: str,
    percent: int | None,
    release: str | None,
    *,
    promotes: bool,
    yes: bool,
    dry: bool,
    json: bool,
) -> None:
    from datetime import UTC, datetime

    from slipway._internal.build.environment import prepare_environment, required_gate_tools
    from slipway._internal.context.reporter import NullReporter
    from slipway._internal.insight.run_recorder import record_run
    from slipway._internal.release import canaries
    from slipway._internal.release.canary_run import execute_canary
    from slipway._internal.release.deploy import ask_when_protected
    from slipway._internal.tasks import show

    with show.progress(f"Looking at {stack.name}") as progress:
        reporter = NullReporter() if json else progress
        gate = required_gate_tools(stack) if percent is not None or promotes else ()
        run_context = prepare_environment(workspace, reporter, building=False, gate=gate, stack=stack)
        plan = (
            canaries.plan_end(run_context, stack, service, promotes=promotes)
            if percent is None
            else canaries.plan_share(run_context, stack, service, percent, release)
        )
    if dry:
        return show.as_json(plan.as_dict()) if json else show.say(plan.summary)
    ask_when_protected(stack, f"{plan.summary} Do it in the protected stack {stack.name}?", show.consent(yes))
    with (
        record_run(workspace, "canary", stack, from_process_start=True),
        show.progress(f"Canary of {service} in {stack.name}") as progress,
    ):
        reporter = NullReporter() if json else progress
        if plan.builds:
            run_context = prepare_environment(workspace, reporter, building=True, stack=stack)
        result = execute_canary(run_context, plan, reporter, show.consent(yes), today=datetime.now(UTC).date())
    if json:
        return show.as_json(result.as_dict())
    show.deploy_result(result)
    return show.say(plan.what_next)
