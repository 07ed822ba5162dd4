"""Verbs of the gate: ship, which carries everything through it, and each of its steps on its own; keys and prune."""

from __future__ import annotations

from invoke.context import Context

from slipway.model.location import workspace_root
from slipway.tasks.verb import CHOSEN, verb


@verb(
    help={
        "stack": "The stack whose lock is written. Default: staging.",
        "version": "One more tag for the images, such as 1.4.0.",
        "services": CHOSEN,
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

    from slipway.flows import gate
    from slipway.flows.ground import SCANNER, SIGNER, ground
    from slipway.flows.recording import Heard, recorded
    from slipway.flows.report import Silence
    from slipway.flows.turn import turn
    from slipway.model import stack as stacks
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    target = stacks.load(workspace_root(), stack, {})
    with recorded(workspace, "ship", target, whole=True) as record, show.progress(f"Shipping to {stack}") as live:
        report = Heard(Silence() if json else live, record)
        here = ground(workspace, report, building=True, gate=(SCANNER, SIGNER))
        with turn(workspace, report):
            shipped = gate.ship(here, workspace.chosen(services), target, report, version=version, dry=dry)
    if json:
        return show.as_json([asdict(each) for each in shipped])
    show.shipped(shipped)
    if dry:
        return show.say("Nothing was done.")
    return show.say(f"[green]✔[/] {stack} is locked. Next: [bold]invoke deploy --stack {stack}[/]")


@verb(positional=["services"], optional=["services"], help={"services": CHOSEN})
def test(context: Context, services: str | None = None) -> None:
    """Run the services' tests: each Dockerfile's `test` stage."""
    from slipway.flows import build, proving
    from slipway.flows.atonce import at_once
    from slipway.flows.ground import ground
    from slipway.flows.recording import recorded
    from slipway.flows.turn import turn
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    chosen = workspace.chosen(services)
    with recorded(workspace, "test", whole=True), show.progress("Testing") as report:
        here = ground(workspace, report, building=True)
        planned = build.plan(workspace, chosen)
        with turn(workspace, report):
            at_once(planned, proving.name_of, lambda each: proving.test(here, each, report))
    show.table(
        ("service", "results"),
        [(each.service.name, str(proving.folder_of(workspace, each) / build.JUNIT)) for each in planned],
    )


@verb(
    positional=["services"],
    optional=["services"],
    help={"services": CHOSEN, "update": "Only get the newest vulnerability database; scan nothing."},
)
def scan(context: Context, services: str | None = None, update: bool = False) -> None:
    """Look for vulnerabilities, secrets and misconfigurations in what was built."""
    from datetime import UTC, datetime

    from slipway.flows import proving
    from slipway.flows import scan as flow
    from slipway.flows.atonce import at_once
    from slipway.flows.ground import SCANNER, ground
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    chosen = workspace.chosen(services)
    with show.progress("Scanning") as report:
        here = ground(workspace, report, building=False, gate=(SCANNER,))
        now = datetime.now(UTC)
        database = flow.ready(here, report, now)
        if update:
            return show.say(f"[green]✔[/] The vulnerability database is of {database.updated}.")
        planned = proving.built(here, chosen)
        work = at_once(planned, proving.name_of, lambda each: proving.rescan(here, each, report, database, now.date()))
    for name, table in work.items():
        show.plain(f"{name}\n{table}")
    return show.say(f"[green]✔[/] Nothing that the policy refuses. Results: {workspace.scratch / 'gate'}")


@verb(positional=["services"], optional=["services"], help={"services": CHOSEN})
def sbom(context: Context, services: str | None = None) -> None:
    """List what is in what was built: CycloneDX and SPDX."""
    from slipway.flows import proving
    from slipway.flows.atonce import at_once
    from slipway.flows.ground import SCANNER, ground
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    chosen = workspace.chosen(services)
    with show.progress("Listing packages") as report:
        here = ground(workspace, report, building=False, gate=(SCANNER,))
        planned = proving.built(here, chosen)
        at_once(planned, proving.name_of, lambda each: proving.describe(here, each, report))
    show.table(
        ("service", "lists"),
        [(each.service.name, str(proving.folder_of(workspace, each) / "sbom.*.json")) for each in planned],
    )


@verb(
    positional=["services"],
    optional=["services"],
    help={"stack": "The stack whose registry holds the images. Default: staging.", "services": CHOSEN},
)
def sign(context: Context, services: str | None = None, stack: str = "staging") -> None:
    """Sign and attest what was pushed to a protected stack's registry."""
    from slipway.flows import gate
    from slipway.flows.ground import SIGNER, ground
    from slipway.flows.turn import turn
    from slipway.model import stack as stacks
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    chosen = workspace.chosen(services)
    with show.progress("Signing") as report:
        here = ground(workspace, report, building=False, gate=(SIGNER,))
        with turn(workspace, report):
            signed = gate.sign_pushed(here, chosen, stacks.load(workspace_root(), stack, {}), report)
    show.shipped(signed)


@verb(
    positional=["services"],
    optional=["services"],
    help={
        "stack": "The stack whose lock is verified. Default: staging.",
        "services": CHOSEN,
        "json": "Print the proofs as JSON.",
    },
)
def verify(context: Context, services: str | None = None, stack: str = "staging", json: bool = False) -> None:
    """Verify what a stack's lock names: signatures, evidence, policy."""
    from slipway.flows import verify as flow
    from slipway.flows.ground import SIGNER, ground
    from slipway.flows.report import Silence
    from slipway.model import stack as stacks
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    chosen = workspace.chosen(services)
    with show.progress("Verifying") as live:
        report = Silence() if json else live
        here = ground(workspace, report, building=False, gate=(SIGNER,))
        proofs = flow.verify(here, stacks.load(workspace_root(), stack, {}), chosen)
    if json:
        return show.as_json(
            [
                {
                    "service": each.service,
                    "ref": each.ref,
                    "content": each.content,
                    "commit": each.commit,
                    "signer": each.signer,
                    "evidence": dict(each.evidence),
                }
                for each in proofs.values()
            ]
        )
    show.table(
        ("service", "image", "signed by", "evidence"),
        [(each.service, each.ref, each.signer, ", ".join(each.evidence)) for each in proofs.values()],
    )
    return show.say(f"[green]✔[/] Everything that {stack} locks is proven.")


@verb()
def keys(context: Context) -> None:
    """Make the key pair that signs, trust it, and write the cluster's policies."""
    import os

    from slipway.flows import admission
    from slipway.flows import keys as flow
    from slipway.flows.ground import SIGNER, ground
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    with show.progress("Keys") as report:
        here = ground(workspace, report, building=False, gate=(SIGNER,))
        made = flow.ensure_pair(here, os.environ) if workspace.settings.signing.mode == "key" else None
        written = admission.write(workspace)
    if made and made.private:
        show.say(f"[green]✔[/] Made {made.private}: it signs, and stays out of git. Keep a copy in a safe place.")
    if made:
        written = [made.public, *written]
    for path in written:
        show.say(f"[green]✔[/] Wrote {path.relative_to(workspace.root)}: commit it.")
    if not written:
        show.say("[green]✔[/] There is a key pair, policy/ trusts it, and policy/kubernetes/ is up to date.")


@verb(
    help={
        "dry": "Only say what would go.",
        "yes": "Do not ask.",
        "machine": "Also what Slipway has left on this machine: old tools, Go's caches, engine images, history, logs.",
    }
)
def prune(context: Context, dry: bool = False, yes: bool = False, machine: bool = False) -> None:
    """Delete images that nothing needs, by the policy in [retention]."""
    from datetime import UTC, datetime

    from slipway.flows import clearing, releases
    from slipway.flows import prune as flow
    from slipway.flows.ground import ground
    from slipway.flows.turn import turn
    from slipway.model.errors import ConfigError
    from slipway.model.workspace import load
    from slipway.tasks import show

    workspace = load(workspace_root())
    with show.progress("Looking what could go") as report:
        here = ground(workspace, report, building=True)
        needed = releases.needed_digests(here)
        plan = flow.plan(here, needed, datetime.now(UTC))
        everything = {**flow.named_in_files(workspace), **needed}
        left = clearing.find(workspace, everything, datetime.now(UTC)) if machine else []
    rows = [*plan.rows(), *((each.what, each.why, flow.human(each.bytes)) for each in left)]
    show.table(("what would go", "why", "frees"), rows)
    if plan.empty and not left:
        return show.say("[green]✔[/] Nothing to delete.")
    told = f"{plan.told()} {clearing.summary(left)}".strip()
    if dry:
        return show.say(f"{told} Nothing was deleted.")
    if not yes and not show.confirm(f"{told} Delete?"):
        raise ConfigError("nobody said yes, so nothing was deleted", remedy="Answer in a terminal, or add --yes.")
    with show.progress("Deleting") as report, turn(workspace, report):
        flow.carry_out(here, plan, report, releases.needed_digests(here))  # time has passed since the plan
        clearing.carry_out(left, report)
    return show.say("[green]✔[/] Deleted.")
