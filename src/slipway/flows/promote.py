"""Promotion: the digests that one stack is locked to become another's, their evidence verified, not a byte changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec

from slipway.flows import beside, evidence
from slipway.flows.commits import refuse_unreviewed
from slipway.flows.logs import logs_of
from slipway.flows.protection import refuse_lost_protection
from slipway.flows.releases import short_digest
from slipway.flows.report import Report
from slipway.flows.standing import Ground
from slipway.flows.tags import tags_of
from slipway.flows.verify import wanted_of
from slipway.model import lock, trust
from slipway.model.errors import ConfigError, EvidenceError
from slipway.model.names import content_tag
from slipway.model.scratch import own_folder
from slipway.model.stack import Stack
from slipway.run import registry
from slipway.run.credentials import config_of


@dataclass(frozen=True)
class Step:
    """One service: what the source stack is locked to, and what the target is (None: nothing) and will be."""

    service: str
    source: lock.Entry
    before: lock.Entry | None
    after: lock.Entry

    @property
    def copied(self) -> bool:
        """Whether the image has to be carried to another repository."""
        return self.source.ref != self.after.ref

    @property
    def note(self) -> str:
        if self.before is None:
            return "new"
        return "same" if self.before == self.after else "moved"

    @property
    def told(self) -> tuple[str, str, str, str]:
        return self.service, short_digest(self.before.ref) if self.before else "nothing", self.after.ref, self.note


@dataclass(frozen=True)
class Promotion:
    """A promotion that is thought through."""

    source: Stack
    target: Stack
    steps: tuple[Step, ...]

    @property
    def changes(self) -> bool:
        return any(step.note != "same" for step in self.steps)

    def told(self, dry: bool) -> str:
        """Return what was or would be done, and the next command."""
        name = self.target.name
        if not self.changes:
            return f"{name} is locked to the digests of {self.source.name} already."
        done = f"{name} {'would be' if dry else 'is now'} locked to the digests of {self.source.name}"
        return f"{done}. Next: `invoke deploy --stack {name}`"


def plan(ground: Ground, source: Stack, target: Stack) -> Promotion:
    """Think a promotion through: all services, or none.

    Raises:
        ConfigError: both are the same stack.
        EvidenceError: the source's lock is damaged, lacks a service, or names an image that went through no gate.
    """
    if source.name == target.name:
        raise ConfigError(
            f"`{source.name}` cannot be promoted to itself", remedy="Name two stacks: --from staging --to prod."
        )
    workspace = ground.workspace
    root = workspace.root
    refuse_lost_protection(workspace, target)
    locked_source = lock.load(root, source.name)
    entries = lock.all_entries(locked_source)
    path = lock.path_of(root, source.name)
    beside.refuse_missing(workspace, target, locked_source, source.name)
    names = [service.name for service in workspace.services]
    names += [name for name in beside.names(target) if name in entries]
    refuse(path, names, entries, source.name)
    if target.protected:
        refuse_unreviewed(root, path, {name: entries[name] for name in names})
    locked = lock.all_entries(lock.load(root, target.name))
    return Promotion(source, target, tuple(step_of(ground, target, name, entries[name], locked) for name in names))


def refuse(path: Path, names: Sequence[str], entries: Mapping[str, lock.Entry], stack: str) -> None:
    """Raise EvidenceError for services that are not locked, or whose images went through no gate."""
    remedy = f"Run `invoke ship --stack {stack}` first."
    if missing := [name for name in names if name not in entries]:
        raise EvidenceError(f"{path} has no digest for {', '.join(missing)}", remedy=remedy)
    if ungated := [name for name in names if not entries[name].evidence]:
        raise EvidenceError(f"{path}: no evidence for {', '.join(ungated)}: no gate was passed", remedy=remedy)


def step_of(ground: Ground, target: Stack, name: str, entry: lock.Entry, locked: Mapping[str, lock.Entry]) -> Step:
    """Return what promotion means for a service: the same digest, in the target's own registry where it has one."""
    digest = entry.ref.partition("@")[2]
    repository = ground.workspace.release_repository(name, target.registry)
    return Step(name, entry, locked.get(name), msgspec.structs.replace(entry, ref=f"{repository}@{digest}"))


def verify(ground: Ground, promotion: Promotion, report: Report, *, today: date) -> None:
    """Verify every image where it is now, whatever the stacks' protection; nothing is changed.

    Raises:
        EvidenceError: evidence is missing, does not hold, or is not what the lock says.
        GateRefused: today's policy refuses an image.
    """
    prove(ground, {step.service: step.source for step in promotion.steps}, report, today=today)


def carry_out(ground: Ground, promotion: Promotion, report: Report, *, today: date) -> None:
    """Verify, copy images and evidence where the target has a registry of its own, verify there, then write the lock.

    Interrupted anywhere, run it again: what was copied stays, and the lock is written last, whole.

    Raises:
        EvidenceError: evidence is missing, does not hold, or did not arrive; the target's lock is as it was.
        GateRefused: today's policy refuses an image; the target's lock is as it was.
        SlipwayError: a registry does not answer, or refuses.
    """
    verify(ground, promotion, report, today=today)
    copied = [step for step in promotion.steps if step.copied]
    for step in copied:
        report.step(step.service, "copying")
        copy(ground, step)
        report.done(step.service, "copied")
    if copied:
        prove(ground, {step.service: step.after for step in copied}, report, today=today)
    for step in copied:
        tag(step)
    root = ground.workspace.root
    before = lock.load(root, promotion.target.name)
    after = lock.with_entries(before, {step.service: step.after for step in promotion.steps})
    if after != before:
        lock.save(root, after)


def copy(ground: Ground, step: Step) -> None:
    """Carry an image and all that is attached to it into the target's repository, without a tag."""
    workspace = ground.workspace
    registry.copy(
        ground.bin / "crane",
        step.source.ref,
        step.after.ref.partition("@")[0],
        scratch=own_folder(workspace.scratch),
        logins=registry.Logins(config_of(workspace, "push"), config_of(workspace, "pull")),
        log=logs_of(workspace) / f"{step.service}.copy.log",
        timeout=float(workspace.settings.gate.seconds),
    )


def tag(step: Step) -> None:
    """Give an image that has proven itself in the target's repository the tags of the source's, its content's last."""
    part = registry.parse(step.after.ref)
    target = registry.open(part.host, "push")
    content = content_tag(step.after.content)
    others = [each for each in tags_of(step.source.ref) if each != content]
    for each in (*others, content):
        target.tag(part.repository, part.reference, each)


def prove(ground: Ground, entries: Mapping[str, lock.Entry], report: Report, *, today: date) -> None:
    """Verify that images have all the evidence that the lock says, and that it holds today."""
    for service in entries:
        report.step(service, "verifying")
    wanted = [wanted_of(name, each) for name, each in entries.items()]
    for service in evidence.verify(ground, wanted, trust.load(ground.workspace.root), today=today):
        report.done(service, "verified")
