"""Verbs that change what runs: up, deploy, preview, down."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slipway._internal.model.stack import Stack
    from slipway._internal.model.workspace import Workspace
    from slipway._internal.release.deploy import DeployResult
    from slipway._internal.targets.target import DataVolume


UNPROTECT_HELP = "Deploy a stack that was protected and whose file no longer says so; --yes alone does not."


@verb(
    optional=["beside"],
    help={
        "stack": "The stack to deploy.",
        "beside": "Run beside another checkout of this workspace, with its own names and port: --beside [NAME].",
        "yes": "Answer yes to every question: a dead deploy's lock is removed.",
        "dry": "Say what would change, and change nothing.",
        "no-install": "Install nothing: say what is missing and how to get it.",
        "json": "Print the result as JSON.",
        "unprotect": UNPROTECT_HELP,
    },
)
def up(
    context: Context,
    stack: str = "dev",
    beside: str | bool | None = None,
    yes: bool = False,
    dry: bool = False,
    no_install: bool = False,
    json: bool = False,
    unprotect: bool = False,
) -> None:
    """Set up, build what changed, deploy, print the URLs."""
    if dry:
        return _preview(stack, install=not no_install)
    if beside:
        _assign_suffix(stack, str(beside) if beside is not True else None, json=json)
    return _deploy(stack, yes=yes, install=not no_install, json=json, unprotect=unprotect)


@verb(
    help={
        "stack": "The stack to deploy.",
        "yes": "Answer yes to every question, also to deploying a protected stack.",
        "dry": "Say what would change, and change nothing.",
        "json": "Print the result as JSON.",
        "unprotect": UNPROTECT_HELP,
    }
)
def deploy(
    context: Context,
    stack: str = "dev",
    yes: bool = False,
    dry: bool = False,
    json: bool = False,
    unprotect: bool = False,
) -> None:
    """Deploy a stack, from the images that its mode says."""
    if dry:
        return _preview(stack, install=True)
    return _deploy(stack, yes=yes, install=True, json=json, unprotect=unprotect)


@verb(help={"stack": "The stack to look at."})
def preview(context: Context, stack: str = "dev") -> None:
    """Show what a deploy would change. Builds nothing."""
    _preview(stack, install=True)


@verb(
    help={
        "stack": "The stack to remove.",
        "yes": "Do not ask, even where the stack is protected.",
        "dry": "Say what would be removed, and remove nothing.",
        "machine": "Also end the registry, builder and Docker engine that Slipway started on this machine.",
        "abandoned": "Also remove what another checkout, which no longer exists, left running.",
        "volumes": "Also remove the data of services, for good: you are asked to type a name, whatever --yes says.",
    }
)
def down(
    context: Context,
    stack: str = "dev",
    yes: bool = False,
    dry: bool = False,
    machine: bool = False,
    abandoned: bool = False,
    volumes: bool = False,
) -> None:
    """Remove what a stack runs; images, data and state stay."""
    from slipway._internal.context.protection import was_protected
    from slipway._internal.context.run_context import current_environment
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.prune import machine as daemons
    from slipway._internal.release import deploy as flow
    from slipway._internal.targets import target_of
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    stack_config = flow.load_stack(workspace, stack)
    target = target_of(workspace, stack_config)
    data = target.data_volumes() if volumes else ()
    if dry:
        images = [*target.running_images(), *((volume.name, f"data of {volume.service}") for volume in data)]
        return show.table(("would be removed", "image"), images)
    if was_protected(workspace, stack):
        stack_config = replace(stack_config, protected=True, mode="external")
    flow.ask_when_protected(
        stack_config, f"Remove everything that runs in the protected stack {stack}?", show.consent(yes)
    )
    if data:
        _confirm_data_loss(workspace, stack, data)
    with show.progress(f"Removing {stack}") as reporter:
        outcome = flow.remove_stack(
            current_environment(workspace), stack_config, reporter, show.consent(yes), also_abandoned=abandoned
        )
        for volume in data:
            target.remove_data_volume(volume)
        kept = target.data_volumes()
        if machine:
            daemons.stop_daemons(workspace, reporter)
    if kept:
        names = ", ".join(sorted(volume.name for volume in kept))
        show.say(f"Kept, with its data: {names}. `invoke down --stack {stack} --volumes` removes it.")
    removed = outcome.operations.get("delete", 0) + len(data)
    return show.say(f"[green]✔[/] {stack}: {f'{removed} resources removed' if removed else 'nothing was running'}.")


def _confirm_data_loss(workspace: Workspace, stack: str, data: Sequence[DataVolume]) -> None:
    """Have the user type the stack's whole name before data is removed.

    Raises:
        ConfigError: it was not typed.
    """
    from slipway._internal.model.errors import ConfigError
    from slipway._internal.tasks import show

    name = f"{workspace.deployed_name}-{stack}"
    show.table(("data that is removed for good", "service"), [(volume.name, volume.service) for volume in data])
    if show.ask(f"Type {name} to remove it: ") != name:
        raise ConfigError(
            f"the data of {stack} is not removed: {name} was not typed",
            remedy="Run it in a terminal, or without --volumes to keep the data. "
            f"`invoke backup SERVICE --stack {stack}` saves it.",
        )


@verb(
    help={
        "service": "The service whose data is saved; its service.toml says how, in [backup].",
        "stack": "The stack it runs in.",
        "file": "Where to write it; without this, a new file in .slipway/backups.",
        "json": "Print the result as JSON.",
    }
)
def backup(context: Context, service: str, stack: str = "dev", file: str | None = None, json: bool = False) -> None:
    """Save a service's data into a compressed file, and check it: invoke backup db."""
    from pathlib import Path

    from slipway._internal.context.reporter import NullReporter
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release.backups import create_backup
    from slipway._internal.tasks import show

    workspace, target = load_workspace(workspace_root()), Path(file).absolute() if file else None
    with show.progress(f"Saving {service}") as progress:
        made = create_backup(workspace, stack, service, target, NullReporter() if json else progress)
    if json:
        return show.as_json({"file": str(made.file), "bytes": made.bytes, "data_bytes": made.data_bytes})
    return show.say(f"[green]✔[/] {made.file}: {made.data_bytes} bytes of data in {made.bytes}, read again and whole.")


@verb(
    help={
        "service": "The service whose data is replaced.",
        "file": "A file that a backup was written to.",
        "stack": "The stack it runs in.",
        "yes": "Do not ask.",
    }
)
def restore(context: Context, service: str, file: str, stack: str = "dev", yes: bool = False) -> None:
    """Put back a service's data from a file, in place of what it has: invoke restore db FILE."""
    from pathlib import Path

    from slipway._internal.model.errors import ConfigError
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release.backups import check_backup, data_volumes_of, restore_backup
    from slipway._internal.tasks import show

    workspace, saved = load_workspace(workspace_root()), Path(file).absolute()
    with show.progress(f"Checking {saved.name}") as reporter:
        check_backup(workspace, stack, service, saved, reporter)
    volumes = " and ".join(data_volumes_of(workspace, stack, service)) or "its volume"
    if not show.consent(yes)(f"Replace all that {service} has in {stack} ({volumes}) by the data of {saved.name}?"):
        raise ConfigError(
            f"{service} in {stack} keeps its data in {volumes}: nobody confirmed that it is replaced",
            remedy="Answer the question in a terminal, or add --yes. "
            f"`invoke backup {service} --stack {stack}` saves what is there now.",
        )
    with show.progress(f"Restoring {service}") as reporter:
        restore_backup(workspace, stack, service, saved, reporter)
    show.say(f"[green]✔[/] {service} in {stack} has the data of {saved.name}.")


@verb(
    help={
        "stack": "The stack whose lock is removed.",
        "yes": "Do not ask.",
    }
)
def unlock(context: Context, stack: str = "dev", yes: bool = False) -> None:
    """Remove the lock of a deploy that has ended on another machine."""
    from slipway._internal.context.run_context import current_environment
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release import deploy as flow
    from slipway._internal.release.deploy_locks import remove_locks
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    pulumi_stack = flow.open_stack(current_environment(workspace), flow.load_stack(workspace, stack))
    with show.progress(f"Unlocking {stack}") as reporter:
        count = remove_locks(pulumi_stack, show.consent(yes), reporter)
    show.say(f"[green]✔[/] {stack}: {'it is free' if count else 'nobody held a lock'}.")


def _assign_suffix(stack: str, name: str | None, *, json: bool) -> None:
    from slipway._internal.context.reporter import NullReporter
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release import deploy as flow
    from slipway._internal.release.side_by_side import assign_suffix_and_port
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    with show.progress(f"Making room for {stack}") as progress:
        assign_suffix_and_port(workspace, flow.load_stack(workspace, stack), name, NullReporter() if json else progress)


def _deploy(stack: str, *, yes: bool, install: bool, json: bool, unprotect: bool) -> None:
    from slipway._internal.context.protection import refuse_lost_protection
    from slipway._internal.model.errors import SlipwayError
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release import deploy as flow
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    stack_config = replace(flow.load_stack(workspace, stack), protection_lifted=unprotect)
    _say_override(stack_config)
    refuse_lost_protection(workspace, stack_config)
    flow.ask_when_protected(stack_config, f"Deploy the protected stack {stack}?", show.consent(yes))
    result = _run_deploy(workspace, stack_config, yes=yes, install=install, json=json)
    show.as_json(result.as_dict()) if json else show.deploy_result(result)
    if not result.healthy:
        raise SlipwayError(
            f"{stack} is deployed, but not everything answers",
            remedy=f"`invoke logs SERVICE --stack {stack}` shows what a service says.",
        )


def _run_deploy(workspace: Workspace, stack_config: Stack, *, yes: bool, install: bool, json: bool) -> DeployResult:
    from slipway._internal.build.environment import prepare_environment, required_gate_tools
    from slipway._internal.context.reporter import NullReporter
    from slipway._internal.context.run_context import current_environment
    from slipway._internal.insight.run_recorder import record_run
    from slipway._internal.release import deploy as flow
    from slipway._internal.tasks import show

    with (
        record_run(workspace, "deploy", stack_config, from_process_start=True),
        show.progress(f"Deploying {stack_config.name}") as progress,
    ):
        reporter = NullReporter() if json else progress
        builds_images = stack_config.mode != "external"
        flow.refuse_foreign_objects_early(current_environment(workspace), stack_config)
        run_context = prepare_environment(
            workspace,
            reporter,
            building=builds_images,
            install=install,
            gate=required_gate_tools(stack_config),
            stack=stack_config,
        )
        if builds_images:
            from slipway._internal.build.build_command import build_ahead_if_many

            build_ahead_if_many(run_context, stack_config, reporter)
        return flow.deploy_stack(run_context, stack_config, reporter, show.consent(yes))


def _preview(stack: str, *, install: bool) -> None:
    from slipway._internal.build.environment import prepare_environment
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release import deploy as flow
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    stack_config = flow.load_stack(workspace, stack)
    _say_override(stack_config)
    with show.progress(f"Previewing {stack}") as reporter:
        run_context = prepare_environment(
            workspace,
            reporter,
            building=stack_config.mode != "external",
            install=install,
            preview=True,
            stack=stack_config,
        )
        reporter.step(stack, "asking Pulumi what would change")
        diff, outcome = flow.preview_stack(run_context, stack_config)
        reporter.done(stack, "asked Pulumi what would change")
    for line in diff:
        show.plain(line)
    counted = ", ".join(
        f"{count} to {operation}" for operation, count in outcome.operations.items() if operation != "same"
    )
    show.say(f"[green]✔[/] {stack}: {counted or 'nothing would change'}.")


def _say_override(stack: Stack) -> None:
    from slipway._internal.tasks import show

    if stack.overridden:
        show.note(f"[yellow]SLIPWAY_IMAGES={stack.mode} overrides the mode of {stack.name} for this run.[/]")
