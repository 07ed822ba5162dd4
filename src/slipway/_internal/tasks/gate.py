"""Verbs of the gate: ship, its single steps, keys and prune."""

from __future__ import annotations

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import SERVICES_HELP, verb


@verb(
    help={
        "stack": "The stack whose lock is written. Default: staging.",
        "version": "One more tag for the images, such as 1.4.0.",
        "services": SERVICES_HELP,
        "dry": "Say what would go through the gate, and do nothing.",
        "json": "Print the result as JSON.",
    }
)
def ship(
    context: Context,
    stack: str = "staging",
    version: str | None = None,
    services: str | None = None,
    dry: bool = False,
    json: bool = False,
) -> None:
    """Build, test, scan, describe, push, sign, verify, lock: all or nothing."""
    from dataclasses import asdict

    from slipway._internal.build.environment import SCANNER, SIGNER, prepare_environment
    from slipway._internal.context.reporter import NullReporter
    from slipway._internal.context.workspace_lock import workspace_lock
    from slipway._internal.gate import gate
    from slipway._internal.insight.run_recorder import RecordingReporter, record_run
    from slipway._internal.model import stack as stacks
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    stack_config = stacks.load(workspace_root(), stack, {})
    with (
        record_run(workspace, "ship", stack_config, from_process_start=True) as recorder,
        show.progress(f"Shipping to {stack}") as progress,
    ):
        reporter = RecordingReporter(NullReporter() if json else progress, recorder)
        run_context = prepare_environment(workspace, reporter, building=True, preview=dry, gate=(SCANNER, SIGNER))
        with workspace_lock(workspace, reporter):
            images = gate.ship_services(
                run_context, workspace.select_services(services), stack_config, reporter, version=version, dry=dry
            )
    if json:
        return show.as_json([asdict(image) for image in images])
    show.shipped_images(images)
    if dry:
        return show.say("Nothing was done.")
    return show.say(f"[green]✔[/] {stack} is locked. Next: [bold]invoke deploy --stack {stack}[/]")


@verb(positional=["services"], optional=["services"], help={"services": SERVICES_HELP})
def test(context: Context, services: str | None = None) -> None:
    """Run the services' tests: each Dockerfile's `test` stage."""
    from slipway._internal.build import build
    from slipway._internal.build.environment import prepare_environment
    from slipway._internal.context.parallel import run_parallel
    from slipway._internal.context.workspace_lock import workspace_lock
    from slipway._internal.gate import checks
    from slipway._internal.insight.run_recorder import record_run
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    chosen = workspace.select_services(services)
    with record_run(workspace, "test", from_process_start=True), show.progress("Testing") as reporter:
        run_context = prepare_environment(workspace, reporter, building=True)
        plans = build.plan_builds(workspace, chosen)
        with workspace_lock(workspace, reporter):
            run_parallel(plans, checks.service_name, lambda plan: checks.rerun_tests(run_context, plan, reporter))
    show.table(
        ("service", "results"),
        [(plan.service.name, str(checks.results_folder(workspace, plan) / build.JUNIT_FILE)) for plan in plans],
    )


@verb(
    positional=["services"],
    optional=["services"],
    help={"services": SERVICES_HELP, "update": "Only get the newest vulnerability database; scan nothing."},
)
def scan(context: Context, services: str | None = None, update: bool = False) -> None:
    """Look for vulnerabilities, secrets and misconfigurations in what was built."""
    from datetime import UTC, datetime

    from slipway._internal.build.environment import SCANNER, prepare_environment
    from slipway._internal.context.parallel import run_parallel
    from slipway._internal.gate import checks
    from slipway._internal.gate import scan as flow
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    chosen = workspace.select_services(services)
    with show.progress("Scanning") as reporter:
        run_context = prepare_environment(workspace, reporter, building=False, gate=(SCANNER,))
        now = datetime.now(UTC)
        database = flow.ensure_database(run_context, reporter, now)
        if update:
            return show.say(f"[green]✔[/] The vulnerability database is of {database.updated}.")
        plans = checks.require_built(run_context, chosen)
        tables = run_parallel(
            plans, checks.service_name, lambda plan: checks.rescan(run_context, plan, reporter, database, now.date())
        )
    for name, table in tables.items():
        show.plain(f"{name}\n{table}")
    return show.say(f"[green]✔[/] The policy refuses nothing. Results: {workspace.scratch / 'gate'}")


@verb(positional=["services"], optional=["services"], help={"services": SERVICES_HELP})
def sbom(context: Context, services: str | None = None) -> None:
    """List what is in what was built: CycloneDX and SPDX."""
    from slipway._internal.build.environment import SCANNER, prepare_environment
    from slipway._internal.context.parallel import run_parallel
    from slipway._internal.gate import checks
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    chosen = workspace.select_services(services)
    with show.progress("Listing packages") as reporter:
        run_context = prepare_environment(workspace, reporter, building=False, gate=(SCANNER,))
        plans = checks.require_built(run_context, chosen)
        run_parallel(plans, checks.service_name, lambda plan: checks.list_packages(run_context, plan, reporter))
    show.table(
        ("service", "lists"),
        [(plan.service.name, str(checks.results_folder(workspace, plan) / "sbom.*.json")) for plan in plans],
    )


@verb(
    positional=["services"],
    optional=["services"],
    help={"stack": "The stack whose registry holds the images. Default: staging.", "services": SERVICES_HELP},
)
def sign(context: Context, services: str | None = None, stack: str = "staging") -> None:
    """Sign and attest what was pushed to a protected stack's registry."""
    from slipway._internal.build.environment import SIGNER, prepare_environment
    from slipway._internal.context.workspace_lock import workspace_lock
    from slipway._internal.gate import gate
    from slipway._internal.model import stack as stacks
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    chosen = workspace.select_services(services)
    with show.progress("Signing") as reporter:
        run_context = prepare_environment(workspace, reporter, building=False, gate=(SIGNER,))
        with workspace_lock(workspace, reporter):
            images = gate.sign_pushed(run_context, chosen, stacks.load(workspace_root(), stack, {}), reporter)
    show.shipped_images(images)


@verb(
    positional=["services"],
    optional=["services"],
    help={
        "stack": "The stack whose lock is verified. Default: staging.",
        "services": SERVICES_HELP,
        "json": "Print the evidence as JSON.",
    },
)
def verify(context: Context, services: str | None = None, stack: str = "staging", json: bool = False) -> None:
    """Verify what a stack's lock names: signatures, evidence, policy."""
    from slipway._internal.build.environment import SIGNER, prepare_environment
    from slipway._internal.context.reporter import NullReporter
    from slipway._internal.gate import verification as flow
    from slipway._internal.model import stack as stacks
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    chosen = workspace.select_services(services)
    with show.progress("Verifying") as progress:
        reporter = NullReporter() if json else progress
        run_context = prepare_environment(workspace, reporter, building=False, gate=(SIGNER,))
        images = flow.verify_stack(run_context, stacks.load(workspace_root(), stack, {}), chosen)
    if json:
        return show.as_json(
            [
                {
                    "service": image.service,
                    "ref": image.ref,
                    "content": image.content,
                    "commit": image.commit,
                    "signer": image.signer,
                    "evidence": dict(image.evidence),
                }
                for image in images.values()
            ]
        )
    show.table(
        ("service", "image", "signed by", "evidence"),
        [(image.service, image.ref, image.signer, ", ".join(image.evidence)) for image in images.values()],
    )
    return show.say(f"[green]✔[/] Everything that {stack} locks is verified.")


@verb()
def keys(context: Context) -> None:
    """Make the key pair that signs, trust it, and write the cluster's policies."""
    import os

    from slipway._internal.build.environment import SIGNER, prepare_environment
    from slipway._internal.gate import admission
    from slipway._internal.gate import signing_keys as flow
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    with show.progress("Keys") as reporter:
        run_context = prepare_environment(workspace, reporter, building=False, gate=(SIGNER,))
        pair = flow.ensure_key_pair(run_context, os.environ) if workspace.settings.signing.mode == "key" else None
        paths = admission.write_policies(workspace)
    if pair and pair.private:
        show.say(f"[green]✔[/] Made {pair.private}: it signs, and stays out of git. Keep a copy in a safe place.")
    if pair:
        paths = [pair.public, *paths]
    for path in paths:
        show.say(f"[green]✔[/] Wrote {path.relative_to(workspace.root)}: commit it.")
    if not paths:
        show.say("[green]✔[/] There is a key pair, policy/ trusts it, and policy/kubernetes/ is up to date.")


@verb(
    help={
        "dry": "Only say what would be removed.",
        "yes": "Do not ask.",
        "machine": "Also what Slipway has left on this machine: old tools, Go's caches, engine images, history, logs.",
    }
)
def prune(context: Context, dry: bool = False, yes: bool = False, machine: bool = False) -> None:
    """Delete images that nothing needs, by the policy in [retention]."""
    from datetime import UTC, datetime

    from slipway._internal.build.environment import prepare_environment
    from slipway._internal.context.workspace_lock import workspace_lock
    from slipway._internal.model.errors import ConfigError
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.prune import machine_cleanup
    from slipway._internal.prune import prune as flow
    from slipway._internal.release import releases
    from slipway._internal.tasks import show

    workspace = load_workspace(workspace_root())
    with show.progress("Looking for what can be removed") as reporter:
        run_context = prepare_environment(workspace, reporter, building=True, preview=True)
        needed = releases.needed_digests(run_context)
        plan = flow.plan_prune(run_context, needed, datetime.now(UTC))
        needed_digests = {**flow.digests_in_files(workspace), **needed}
        leftovers = (
            machine_cleanup.find_machine_leftovers(workspace, needed_digests, datetime.now(UTC)) if machine else []
        )
    rows = [*plan.rows(), *((leftover.what, leftover.why, flow.format_bytes(leftover.bytes)) for leftover in leftovers)]
    show.table(("what would go", "why", "frees"), rows)
    if plan.is_empty and not leftovers:
        return show.say("[green]✔[/] Nothing to delete.")
    summary = f"{plan.summary()} {machine_cleanup.summarize_leftovers(leftovers)}".strip()
    if dry:
        return show.say(f"{summary} Nothing was deleted.")
    if not yes and not show.confirm(f"{summary} Delete?"):
        raise ConfigError("nothing was confirmed, so nothing was deleted", remedy="Answer in a terminal, or add --yes.")
    with show.progress("Deleting") as reporter, workspace_lock(workspace, reporter):
        flow.execute_prune(
            run_context, plan, reporter, releases.needed_digests(run_context)
        )  # time has passed since the plan
        machine_cleanup.remove_leftovers(leftovers, reporter)
    return show.say("[green]✔[/] Deleted.")
