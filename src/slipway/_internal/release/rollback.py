"""Rolls back to an earlier release: its images by digest, without a build, with the services' current settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date

from slipway._internal.context.commits import refuse_unreviewed
from slipway._internal.context.protection import refuse_lost_protection
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import evidence
from slipway._internal.gate.evidence import EvidenceRequirement
from slipway._internal.gate.prebuilt_images import evidence_kinds_of
from slipway._internal.gate.verification import refuse_mismatched_tags
from slipway._internal.model import lock, trust
from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import ConfigError, EvidenceError, SlipwayError
from slipway._internal.model.names import CONTENT_TAG
from slipway._internal.model.stack import Stack, how_to_deploy
from slipway._internal.model.workspace import Workspace
from slipway._internal.release import deploy
from slipway._internal.release.canary_guard import refuse_during_canary
from slipway._internal.release.deploy import Consent, DeployResult
from slipway._internal.release.inputs import read_inputs
from slipway._internal.release.releases import DeployedRelease, list_releases, live_release, short_digest
from slipway._internal.release.tags import find_tags
from slipway._internal.run import registry

GOOD_RESULTS = ("live", "good")
"""Results of releases that a rollback may go back to."""


@dataclass(frozen=True)
class RollbackStep:
    """A rollback's effect on one service: the image that runs now (empty: none) and the one that will run."""

    service: str
    current_ref: str
    ref: str
    note: str

    @property
    def as_row(self) -> tuple[str, str, str, str]:
        return self.service, short_digest(self.current_ref) or "nothing", short_digest(self.ref), self.note


@dataclass(frozen=True)
class Rollback:
    """A planned rollback: the release to go back to, and its effect on each service.

    `missing_services` are services of the release that the workspace no longer has; `skipped` says whose release
    commands are not run, if there are any.
    """

    stack: Stack
    release: DeployedRelease
    steps: tuple[RollbackStep, ...]
    missing_services: tuple[str, ...]
    skipped: str = ""

    def summary_lines(self) -> list[str]:
        """Return the lines to print before the rollback."""
        lines = [
            f"{self.stack.name} goes back to {self.release.id}, of {self.release.local_time} by {self.release.actor}."
        ]
        if self.missing_services:
            lines.append(f"No longer in the workspace, so not deployed: {', '.join(self.missing_services)}.")
        if self.skipped:
            lines.append(self.skipped)
        if self.stack.mode == "inline":
            lines.append(
                f"{self.stack.name} is inline: its images come from the lock for this run only. The next "
                f"`{how_to_deploy(self.stack.name)}` builds the current sources again."
            )
        elif self.stack.mode == "hybrid":
            lines.append(f"{self.stack.name} is hybrid: for this run, every image comes from the lock.")
        return lines


def plan_release_rollback(context: RunContext, stack: Stack, release_id: str | None) -> Rollback:
    """Plan a rollback; nothing changes, and only the state is read.

    Args:
        context: the run's context.
        stack: the stack as its file defines it, regardless of SLIPWAY_IMAGES.
        release_id: the release to go back to, or None for the last good one.

    Raises:
        ConfigError: the release does not exist, or there is none to go back to.
        EvidenceError: a service has no image that could run, or the lock is damaged.
        StackBusy: a canary is under way.
    """
    workspace = context.workspace
    refuse_lost_protection(workspace, stack)
    refuse_during_canary(workspace, stack.name)
    history = list_releases(context, stack)
    stack_lock = lock.load(workspace.root, stack.name)
    release = choose_release(
        history, stack.name, release_id, {name: entry.ref for name, entry in stack_lock.services.items()}
    )
    names = [service.name for service in workspace.services]
    steps = tuple(plan_steps(names, release, live_release(history), stack_lock))
    missing_services = tuple(sorted(set(release.digests) - set(names)))
    return Rollback(stack, release, steps, missing_services, deploy.skipped_release_commands(workspace))


def choose_release(
    history: list[DeployedRelease], stack: str, release_id: str | None, locked_refs: Mapping[str, str]
) -> DeployedRelease:
    """Return the release to go back to: the one named, otherwise the last good one whose images do not run now.

    After a failed release, that is the one that was live before it. An interrupted rollback (the failed release has
    an earlier good release's images, and the lock names them) is resumed.

    Raises:
        ConfigError: the release does not exist or was never live, or there is none to go back to.
    """
    good = [release for release in history if release.result in GOOD_RESULTS]
    if release_id:
        return find_good_release(history, good, stack, release_id)
    live = live_release(history)
    if history and history[0].result not in GOOD_RESULTS:
        tried_images = dict(history[0].digests)
        interrupted = [
            release
            for release in good
            if dict(release.digests) == tried_images and tried_images.items() <= locked_refs.items()
        ]
        choice = next(iter([*interrupted, *([live] if live else [])]), None)
    else:
        choice = next((release for release in good if live and dict(release.digests) != dict(live.digests)), None)
    if not choice:
        raise ConfigError(
            f"{stack} has no good release to go back to",
            remedy=f"List what was deployed: `invoke releases --stack {stack}`.",
        )
    return choice


def find_good_release(
    history: list[DeployedRelease], good: list[DeployedRelease], stack: str, release_id: str
) -> DeployedRelease:
    """Return the good release with that id; otherwise raise a ConfigError that lists the good ones."""
    for release in good:
        if release.id == release_id:
            return release
    ids = ", ".join(release.id for release in good) or "none"
    if any(release.id == release_id for release in history):
        raise ConfigError(f"release {release_id} of {stack} never went live", remedy=f"Use a good release: {ids}.")
    raise ConfigError(f"{stack} has no release {release_id}", remedy=f"Use a good release: {ids}.")


def plan_steps(
    services: list[str], release: DeployedRelease, live: DeployedRelease | None, stack_lock: lock.Lock
) -> Iterator[RollbackStep]:
    """Yield each service's rollback step; a service that the release did not have keeps its current image.

    Raises:
        EvidenceError: such a service has no image: it is not locked and was never deployed.
    """
    running_refs = live.digests if live else {}
    for name in services:
        current_ref = running_refs.get(name, "")
        if name in release.digests:
            ref = release.digests[name]
            yield RollbackStep(name, current_ref, ref, "stays" if ref == current_ref else "goes back")
            continue
        ref = stack_lock.services[name].ref if name in stack_lock.services else current_ref
        if not ref:
            raise EvidenceError(
                f"{name} did not exist in {release.id}, and has no image to run beside it",
                remedy=f"Build and lock it (`invoke build {name}`, `invoke push {name} --stack {stack_lock.stack}`), "
                f"or remove services/{name}.",
            )
        yield RollbackStep(name, current_ref, ref, "stays: it is not in that release")


def execute_rollback(
    context: RunContext, rollback: Rollback, reporter: Reporter, consent: Consent, *, today: date
) -> DeployResult:
    """Roll back: verify every image, write the lock, deploy it. An interrupted rollback can be run again.

    Raises:
        EvidenceError: an image is not in the registry, or its evidence is invalid; the lock is unchanged.
        GateRefused: today's policy refuses an image; the lock is unchanged.
        SlipwayError: the deploy failed; the old images still run, and the lock names the ones that should.
    """
    root, stack = context.workspace.root, rollback.stack
    deploy.refuse_foreign_objects(context, stack)
    old_lock = lock.load(root, stack.name)
    entries = resolve_entries(context, rollback, reporter, today=today)
    new_lock = lock.with_entries(old_lock, entries)
    if new_lock != old_lock:
        lock.save(root, new_lock)
    external = replace(stack, mode="external", overridden=stack.mode != "external", rolls_back=True)
    # The gateway is not rolled back: an old gateway has old vulnerabilities.
    inputs = read_inputs(context, external, reporter, stack_lock=new_lock, already_verified=tuple(entries))
    return deploy.deploy_stack(context, external, reporter, consent, inputs)


def resolve_entries(
    context: RunContext, rollback: Rollback, reporter: Reporter, *, today: date
) -> dict[str, lock.LockEntry]:
    """Return each service's lock entry, verified if the stack is protected; nothing changes.

    Raises:
        EvidenceError: an image is not in the registry, or its evidence is invalid.
        GateRefused: today's policy refuses an image.
    """
    stack_lock = lock.load(context.workspace.root, rollback.stack.name)
    if rollback.stack.protected:
        entries = verify_steps(context, rollback.steps, stack_lock, reporter, today=today)
        refuse_unreviewed(context.workspace.root, lock.path_of(context.workspace.root, stack_lock.stack), entries)
        refuse_mismatched_tags(context.workspace, entries, f"the release {rollback.release.id}", stack_lock.stack)
        return entries
    refs = [step.ref for step in rollback.steps]
    missing = [ref for ref, digest in registry.resolve_digests(refs, context.workspace).items() if digest is None]
    if missing:
        raise EvidenceError(
            f"the registry no longer has {', '.join(missing)}",
            remedy=f"Choose another release from `invoke releases --stack {stack_lock.stack}`.",
        )
    return {
        step.service: find_entry(context, rollback, step, stack_lock, reporter, today=today) for step in rollback.steps
    }


def verify_steps(
    context: RunContext, steps: Sequence[RollbackStep], stack_lock: lock.Lock, reporter: Reporter, *, today: date
) -> dict[str, lock.LockEntry]:
    """Verify all evidence in the registry, and return the lock entries that it yields.

    Raises:
        EvidenceError: evidence is invalid.
        GateRefused: today's policy refuses an image.
    """
    for step in steps:
        reporter.step(step.service, "verifying")
    requirements = [requirement_for(context.workspace, step, stack_lock) for step in steps]
    images = evidence.verify_evidence(context, requirements, trust.load(context.workspace.root), today=today)
    for service in images:
        reporter.done(service, "verified")
    return {service: image.lock_entry for service, image in images.items()}


def requirement_for(workspace: Workspace, step: RollbackStep, stack_lock: lock.Lock) -> EvidenceRequirement:
    """Return the evidence that an image needs, including what the lock says about it if it names that image."""
    entry = stack_lock.services.get(step.service)
    kinds = evidence_kinds_of(workspace, step.service)
    if entry and entry.ref == step.ref:
        return EvidenceRequirement.from_entry(step.service, entry, kinds)
    return EvidenceRequirement(step.service, step.ref, kinds=kinds)


def find_entry(
    context: RunContext, rollback: Rollback, step: RollbackStep, own_lock: lock.Lock, reporter: Reporter, *, today: date
) -> lock.LockEntry:
    """Return the entry of an image that needs no evidence: from a lock, its evidence, the release, or its tag."""
    locks = [own_lock, *(lock.load(context.workspace.root, name) for name in stacks.names(context.workspace.root))]
    for stack_lock in locks:
        entry = stack_lock.services.get(step.service)
        if entry and entry.ref == step.ref:
            return entry
    release_repository = context.workspace.release_repository(step.service, rollback.stack.registry)
    if step.ref.startswith(f"{release_repository}@"):
        with suppress(SlipwayError):  # only a protected stack requires evidence, and cosign
            return verify_steps(context, [step], own_lock, reporter, today=today)[step.service]
    return lock.LockEntry(
        step.ref, rollback.release.contents.get(step.service) or content_from_tags(step.ref, context.workspace)
    )


def content_from_tags(ref: str, workspace: Workspace) -> str:
    """Return the content digest from an image's tag; empty if it has no such tag."""
    contents = [tag.removeprefix(CONTENT_TAG) for tag in find_tags(ref, workspace) if tag.startswith(CONTENT_TAG)]
    return next((content for content in contents if lock.SHA256.fullmatch(content)), "")
