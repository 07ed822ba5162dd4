"""Promotion: locks one stack to another's digests, unchanged and with their evidence verified."""

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
    """One service: the source stack's lock entry, and the target's old (None: not locked) and new entry."""

    service: str
    source: lock.LockEntry
    old_entry: lock.LockEntry | None
    new_entry: lock.LockEntry

    @property
    def needs_copy(self) -> bool:
        """Whether the image has to be copied to another repository."""
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
    """A planned promotion."""

    source: Stack
    target: Stack
    steps: tuple[PromotionStep, ...]

    @property
    def has_changes(self) -> bool:
        return any(step.note != "same" for step in self.steps)

    def summary(self, dry: bool) -> str:
        """Return what was done, or would be done in a dry run, and the next command."""
        name = self.target.name
        if not self.has_changes:
            return f"{name} is already locked to the digests of {self.source.name}."
        outcome = f"{name} {'would be' if dry else 'is now'} locked to the digests of {self.source.name}"
        return f"{outcome}. Next: `invoke deploy --stack {name}`"


def plan_promotion(context: RunContext, source: Stack, target: Stack) -> Promotion:
    """Plan a promotion: all services, or none.

    Raises:
        ConfigError: both are the same stack.
        EvidenceError: the source's lock is damaged, lacks a service, or names an image that passed no gate.
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
    """Raise EvidenceError for services that are not locked, or whose images passed no gate."""
    remedy = f"Run `invoke ship --stack {stack}` first."
    if missing := [name for name in names if name not in entries]:
        raise EvidenceError(f"{path} has no digest for {', '.join(missing)}", remedy=remedy)
    if ungated := [name for name in names if not entries[name].evidence]:
        raise EvidenceError(f"{path}: no evidence that {', '.join(ungated)} passed a gate", remedy=remedy)


def plan_step(
    context: RunContext, target: Stack, name: str, entry: lock.LockEntry, target_entries: Mapping[str, lock.LockEntry]
) -> PromotionStep:
    """Return a service's promotion: the same digest, in the target's own registry if it has one."""
    digest = entry.ref.partition("@")[2]
    repository = context.workspace.release_repository(name, target.registry)
    return PromotionStep(
        name, entry, target_entries.get(name), msgspec.structs.replace(entry, ref=f"{repository}@{digest}")
    )


def verify_promotion(context: RunContext, promotion: Promotion, reporter: Reporter, *, today: date) -> None:
    """Verify every image in its current repository, whether or not the stacks are protected; nothing changes.

    Raises:
        EvidenceError: evidence is missing or invalid, or differs from the lock.
        GateRefused: today's policy refuses an image.
    """
    verify_entries(context, {step.service: step.source for step in promotion.steps}, reporter, today=today)


def execute_promotion(context: RunContext, promotion: Promotion, reporter: Reporter, *, today: date) -> None:
    """Verify, copy images and evidence if the target has its own registry, verify there, then write the lock.

    An interrupted promotion can be run again: copied images stay, and the lock is written last, atomically.

    Raises:
        EvidenceError: evidence is missing or invalid, or was not copied; the target's lock is unchanged.
        GateRefused: today's policy refuses an image; the target's lock is unchanged.
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
    """Copy an image and everything attached to it to the target's repository, without a tag."""
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
    """Tag a verified image in the target's repository as in the source's, with the content tag last."""
    reference = registry.parse_reference(step.new_entry.ref)
    registry_client = registry.open_registry(reference.host, "push", workspace)
    content = content_tag(step.new_entry.content)
    other_tags = [tag for tag in find_tags(step.source.ref, workspace) if tag != content]
    for tag in (*other_tags, content):
        registry_client.add_tag(reference.repository, reference.reference, tag)


def verify_entries(
    context: RunContext, entries: Mapping[str, lock.LockEntry], reporter: Reporter, *, today: date
) -> None:
    """Verify that images have all the evidence that the lock names, and that it is valid today."""
    for service in entries:
        reporter.step(service, "verifying")
    requirements = [requirement_for(context.workspace, name, entry) for name, entry in entries.items()]
    for service in evidence.verify_evidence(context, requirements, trust.load(context.workspace.root), today=today):
        reporter.done(service, "verified")
