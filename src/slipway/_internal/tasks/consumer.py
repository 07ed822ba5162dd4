"""The verb for the keys of those who call the gateway."""

from __future__ import annotations

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import verb

ACTIONS = ("add", "rotate", "remove", "list")


@verb(
    positional=["action", "name"],
    optional=["name"],
    help={
        "action": "add: make a key, which is shown once; rotate: make the next; remove: remove all; list: show all.",
        "name": "The consumer, who has a table [consumers.NAME] in workspace.toml.",
        "stack": "The stack whose gateway takes the key.",
        "finish": "With rotate: only the newest key is taken from now on.",
        "json": "With list: print it as JSON.",
    },
)
def consumer(
    context: Context,
    action: str,
    name: str | None = None,
    stack: str = "dev",
    finish: bool = False,
    json: bool = False,
) -> None:
    """Give those who call the gateway keys, and take them away: invoke consumer add shop. The next deploy does it."""
    from slipway._internal.build.environment import prepare_tools
    from slipway._internal.context.reporter import NullReporter
    from slipway._internal.context.run_context import current_environment
    from slipway._internal.model import stack as stacks
    from slipway._internal.model.errors import ConfigError
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release import consumers
    from slipway._internal.tasks import show

    if action not in ACTIONS:
        raise ConfigError(f"unknown action {action!r}", remedy=f"Use {', '.join(ACTIONS)}.")
    if (name is None) != (action == "list") or (finish and action != "rotate"):
        raise ConfigError(
            f"`consumer {action}` is not called like this",
            remedy="There are: list · add NAME · rotate NAME · rotate NAME --finish · remove NAME.",
        )
    workspace = load_workspace(workspace_root())
    stack_config = stacks.load(workspace_root(), stack, {})
    prepare_tools(workspace, NullReporter(), install=True)
    run_context = current_environment(workspace)
    if name is None:
        rows = consumers.list_consumers(run_context, stack_config)
        if json:
            return show.as_json([row.as_dict() for row in rows])
        if not rows:
            return show.say("There are no consumers. [bold]\\[consumers.NAME][/] in workspace.toml makes one.")
        return show.table(("consumer", "groups", "keys made"), [row.cells for row in rows])
    then = f"It holds from the next `{stacks.how_to_deploy(stack)}` on. Commit {stack_config.file.name}."
    if action == "remove":
        consumers.remove_keys(run_context, stack_config, name)
        return show.plain_note(f"{name} has no key in {stack} any more. {then}")
    if finish:
        consumers.finish_rotation(run_context, stack_config, name)
        return show.plain_note(f"Only the newest key of {name} in {stack} is left. {then}")
    make = {"add": consumers.add_key, "rotate": consumers.rotate_key}[action]
    show.plain(make(run_context, stack_config, name))
    show.plain_note(f"This is the key of {name} in {stack}. It is kept nowhere and not shown again. {then}")
    if action == "rotate":
        show.plain_note("The key before it is taken, too, until `--finish`.")
    return None
