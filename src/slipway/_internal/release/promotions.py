"""Promotion: the digests that one stack is locked to become another's, their evidence verified, not a byte changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec

from slipway._internal.context.commits import refuse_unreviewed
from slipway._internal.context.logs import logs_folder
from slipway._internal.context.protection import refuse_lost_protection
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import evidence, prebuilt_images
from slipway._internal.gate.verification import requirement_for
from slipway._internal.model import lock, trust
from slipway._internal.model.errors import ConfigError, EvidenceError
from slipway._internal.model.names import content_tag
from slipway._internal.model.scratch import process_folder
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace
from slipway._internal.release.releases import short_digest
from slipway._internal.release.tags import find_tags
from slipway._internal.run import registry
from slipway._internal.run.credentials import login_config_of


@dataclass(frozen=True)
class PromotionStep:
    """One service: what the source stack is locked to, and what the target is (None: nothing) and will be."""

    service: str
    source: lock.LockEntry
    old_entry: lock.LockEntry | None
    new_entry: lock.LockEntry

    @property
    def needs_copy(self) -> bool:
        """Whether the image has to be carried to another repository."""
        return self.source.ref != self.new_entry.ref

    @property
    def note(self) -> str:
        if self.old_entry is None:
            return "new"
        return "same" if self.old_entry == self.new_entry else "moved"

    @property
    def as_row(self) -> tuple[str, str, str, str]:
        return (
            self.service,
            short_digest(self.old_entry.ref) if self.old_entry else "nothing",
            self.new_entry.ref,
            self.note,
        )


@dataclass(frozen=True)
class Promotion:
    """A promotion that is thought through."""

    source: Stack
    target: Stack
    steps: tuple[PromotionStep, ...]

    @property
    def has_changes(self) -> bool:
        return any(step.note != "same" for step in self.steps)

    def summary(self, dry: bool) -> str:
        """Return what was or would be done, and the next command."""
        name = self.target.name
        if not self.has_changes:
            return f"{name} is locked to the digests of {self.source.name} already."
        outcome = f"{name} {'would be' if dry else 'is now'} locked to the digests of {self.source.name}"
        return f"{outcome}. Next: `invoke deploy --stack {name}`"


def plan_promotion(context: RunContext, source: Stack, target: Stack) -> Promotion:
    """Think a promotion through: all services, or none.

    Raises:
        ConfigError: both are the same stack.
        EvidenceError: the source's lock is damaged, lacks a service, or names an image that went through no gate.
    """
    if source.name == target.name:
        raise ConfigError(
            f"`{source.name}` cannot be promoted to itself", remedy="Name two stacks: --from staging --to prod."
        )
    workspace = context.workspace
    root = workspace.root
    refuse_lost_protection(workspace, target)
    source_lock = lock.load(root, source.name)
    entries = lock.all_entries(source_lock)
    path = lock.path_of(root, source.name)
    prebuilt_images.refuse_missing(workspace, target, source_lock, source.name)
    names = [service.name for service in workspace.services]
    names += [name for name in prebuilt_images.names_for(target) if name in entries]
    refuse_ungated(path, names, entries, source.name)
    if target.protected:
        refuse_unreviewed(root, path, {name: entries[name] for name in names})
    target_entries = lock.all_entries(lock.load(root, target.name))
    return Promotion(
        source, target, tuple(plan_step(context, target, name, entries[name], target_entries) for name in names)
    )


def refuse_ungated(path: Path, names: Sequence[str], entries: Mapping[str, lock.LockEntry], stack: str) -> None:
    """Raise EvidenceError for services that are not locked, or whose images went through no gate."""
    remedy = f"Run `invoke ship --stack {stack}` first."
    if missing := [name for name in names if name not in entries]:
        raise EvidenceError(f"{path} has no digest for {', '.join(missing)}", remedy=remedy)
    if ungated := [name for name in names if not entries[name].evidence]:
        raise EvidenceError(f"{path}: no evidence for {', '.join(ungated)}: no gate was passed", remedy=remedy)


def plan_step(
    context: RunContext, target: Stack, name: str, entry: lock.LockEntry, target_entries: Mapping[str, lock.LockEntry]
) -> PromotionStep:
    """Return what promotion means for a service: the same digest, in the target's own registry where it has one."""
    digest = entry.ref.partition("@")[2]
    repository = context.workspace.release_repository(name, target.registry)
    return PromotionStep(
        name, entry, target_entries.get(name), msgspec.structs.replace(entry, ref=f"{repository}@{digest}")
    )


def verify_promotion(context: RunContext, promotion: Promotion, reporter: Reporter, *, today: date) -> None:
    """Verify every image where it is now, whatever the stacks' protection; nothing is changed.

    Raises:
        EvidenceError: evidence is missing, does not hold, or is not what the lock says.
        GateRefused: today's policy refuses an image.
    """
    verify_entries(context, {step.service: step.source for step in promotion.steps}, reporter, today=today)


def execute_promotion(context: RunContext, promotion: Promotion, reporter: Reporter, *, today: date) -> None:
    """Verify, copy images and evidence where the target has a registry of its own, verify there, then write the lock.

    Interrupted anywhere, run it again: what was copied stays, and the lock is written last, whole.

    Raises:
        EvidenceError: evidence is missing, does not hold, or did not arrive; the target's lock is as it was.
        GateRefused: today's policy refuses an image; the target's lock is as it was.
        SlipwayError: a registry does not answer, or refuses.
    """
    verify_promotion(context, promotion, reporter, today=today)
    to_copy = [step for step in promotion.steps if step.needs_copy]
    for step in to_copy:
        reporter.step(step.service, "copying")
        copy_to_target(context, step)
        reporter.done(step.service, "copied")
    if to_copy:
        verify_entries(context, {step.service: step.new_entry for step in to_copy}, reporter, today=today)
    for step in to_copy:
        tag_image(context.workspace, step)
    root = context.workspace.root
    old_lock = lock.load(root, promotion.target.name)
    new_lock = lock.with_entries(old_lock, {step.service: step.new_entry for step in promotion.steps})
    if new_lock != old_lock:
        lock.save(root, new_lock)


def copy_to_target(context: RunContext, step: PromotionStep) -> None:
    """Carry an image and all that is attached to it into the target's repository, without a tag."""
    workspace = context.workspace
    registry.copy_image(
        context.bin / "crane",
        step.source.ref,
        step.new_entry.ref.partition("@")[0],
        scratch=process_folder(workspace.scratch),
        logins=registry.CopyLogins(login_config_of(workspace, "push"), login_config_of(workspace, "pull")),
        log=logs_folder(workspace) / f"{step.service}.copy.log",
        timeout=float(workspace.settings.gate.seconds),
    )


def tag_image(workspace: Workspace, step: PromotionStep) -> None:
    """Give an image that has proven itself in the target's repository the tags of the source's, its content's last."""
    reference = registry.parse_reference(step.new_entry.ref)
    registry_client = registry.open_registry(reference.host, "push", workspace)
    content = content_tag(step.new_entry.content)
    other_tags = [tag for tag in find_tags(step.source.ref, workspace) if tag != content]
    for tag in (*other_tags, content):
        registry_client.add_tag(reference.repository, reference.reference, tag)


def verify_entries(
    context: RunContext, entries: Mapping[str, lock.LockEntry], reporter: Reporter, *, today: date
) -> None:
    """Verify that images have all the evidence that the lock says, and that it holds today."""
    for service in entries:
        reporter.step(service, "verifying")
    requirements = [requirement_for(name, entry) for name, entry in entries.items()]
    for service in evidence.verify_evidence(context, requirements, trust.load(context.workspace.root), today=today):
        reporter.done(service, "verified")
