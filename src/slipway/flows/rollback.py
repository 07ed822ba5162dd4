"""Goes back to a release that ran: its images, by digest and without a build, in the services' present settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date

from slipway.flows import deploy, evidence
from slipway.flows.commits import refuse_unreviewed
from slipway.flows.deploy import Consent, Deployed
from slipway.flows.evidence import Wanted
from slipway.flows.inputs import read_inputs
from slipway.flows.protection import refuse_lost_protection
from slipway.flows.releases import ReleaseLine, live_of, releases, short_digest
from slipway.flows.report import Report
from slipway.flows.standing import Ground
from slipway.flows.tags import tags_of
from slipway.flows.verify import refuse_moved
from slipway.model import lock, trust
from slipway.model import stack as stacks
from slipway.model.errors import ConfigError, EvidenceError, SlipwayError
from slipway.model.names import CONTENT_TAG
from slipway.model.stack import Stack, how_to_deploy
from slipway.run import registry

WENT = ("live", "good")
"""The results of releases that can be gone back to."""


@dataclass(frozen=True)
class Move:
    """What going back means for one service: the image that runs now (empty: none) and the one that will."""

    service: str
    now: str
    ref: str
    note: str

    @property
    def told(self) -> tuple[str, str, str, str]:
        return self.service, short_digest(self.now) or "nothing", short_digest(self.ref), self.note


@dataclass(frozen=True)
class Rollback:
    """A way back that is thought through: to which release, and what that means for each service.

    `gone` are services of the release that the workspace no longer has.
    """

    stack: Stack
    to: ReleaseLine
    moves: tuple[Move, ...]
    gone: tuple[str, ...]

    def told(self) -> list[str]:
        """Return what there is to say before it is done."""
        lines = [f"{self.stack.name} goes back to {self.to.id}, of {self.to.when} by {self.to.actor}."]
        if self.gone:
            lines.append(f"No longer in the workspace, so not deployed: {', '.join(self.gone)}.")
        if self.stack.images == "inline":
            lines.append(
                f"{self.stack.name} is inline: its images come from the lock for this run only. The next "
                f"`{how_to_deploy(self.stack.name)}` builds the present sources again."
            )
        elif self.stack.images == "hybrid":
            lines.append(f"{self.stack.name} is hybrid: for this run, every image comes from the lock.")
        return lines


def plan(ground: Ground, stack: Stack, release_id: str | None) -> Rollback:
    """Think the way back through; nothing is changed and nothing but the state is asked.

    Args:
        ground: what there is to work with.
        stack: the stack as its file says, whatever SLIPWAY_IMAGES says.
        release_id: the release to go back to, or None for the last good one.

    Raises:
        ConfigError: there is no such release, or none to go back to.
        EvidenceError: a service has no image that could run, or the lock is damaged.
    """
    workspace = ground.workspace
    refuse_lost_protection(workspace, stack)
    lines = releases(ground, stack)
    locked = lock.load(workspace.root, stack.name)
    to = chosen(lines, stack.name, release_id, {name: entry.ref for name, entry in locked.services.items()})
    names = [service.name for service in workspace.services]
    moves = tuple(moves_of(names, to, live_of(lines), locked))
    return Rollback(stack, to, moves, tuple(sorted(set(to.digests) - set(names))))


def chosen(lines: list[ReleaseLine], stack: str, release_id: str | None, locked: Mapping[str, str]) -> ReleaseLine:
    """Return the release to go back to: the one named, else the last good one whose images do not run now.

    After a release that failed, that is the one that was live before it. A way back that did not end (the lock names
    what an earlier good release had, and that failed) goes on.

    Raises:
        ConfigError: there is no such release, it never ran, or there is none to go back to.
    """
    good = [each for each in lines if each.result in WENT]
    if release_id:
        return named(lines, good, stack, release_id)
    live = live_of(lines)
    if lines and lines[0].result not in WENT:
        tried = dict(lines[0].digests)
        begun = [each for each in good if dict(each.digests) == tried and tried.items() <= locked.items()]
        found = next(iter([*begun, *([live] if live else [])]), None)
    else:
        found = next((each for each in good if live and dict(each.digests) != dict(live.digests)), None)
    if not found:
        raise ConfigError(
            f"{stack} has no good release to go back to",
            remedy=f"`invoke releases --stack {stack}` shows what was deployed.",
        )
    return found


def named(lines: list[ReleaseLine], good: list[ReleaseLine], stack: str, release_id: str) -> ReleaseLine:
    """Return the good release of that id; ConfigError naming those that there are."""
    for each in good:
        if each.id == release_id:
            return each
    ids = ", ".join(each.id for each in good) or "none"
    if any(each.id == release_id for each in lines):
        raise ConfigError(f"the release {release_id} of {stack} never got live", remedy=f"Good ones: {ids}.")
    raise ConfigError(f"{stack} has no release {release_id}", remedy=f"Good ones: {ids}.")


def moves_of(services: list[str], to: ReleaseLine, live: ReleaseLine | None, locked: lock.Lock) -> Iterator[Move]:
    """Yield what going back means for each service; one that the release did not have keeps the image that it has.

    Raises:
        EvidenceError: such a service has no image: it is not locked and was never deployed.
    """
    running = live.digests if live else {}
    for name in services:
        now = running.get(name, "")
        if name in to.digests:
            ref = to.digests[name]
            yield Move(name, now, ref, "stays" if ref == now else "goes back")
            continue
        ref = locked.services[name].ref if name in locked.services else now
        if not ref:
            raise EvidenceError(
                f"{name} did not exist in {to.id}, and has no image of its own that could run beside it",
                remedy=f"Build and lock it (`invoke build {name}`, `invoke push {name} --stack {locked.stack}`), or "
                f"take services/{name} out.",
            )
        yield Move(name, now, ref, "stays: it is not in that release")


def carry_out(ground: Ground, rollback: Rollback, report: Report, consent: Consent, *, today: date) -> Deployed:
    """Go back: prove every image, write the lock, deploy what it says. Interrupted anywhere, run it again.

    Raises:
        EvidenceError: an image is not in the registry, or its evidence does not hold; the lock is as it was.
        GateRefused: today's policy refuses an image; the lock is as it was.
        SlipwayError: the deploy failed; what ran before still runs, and the lock says what should.
    """
    root, stack = ground.workspace.root, rollback.stack
    deploy.refuse_others(ground, stack)
    before = lock.load(root, stack.name)
    entries = entries_of(ground, rollback, report, today=today)
    after = lock.with_entries(before, entries)
    if after != before:
        lock.save(root, after)
    external = replace(stack, images="external", overridden=stack.images != "external")
    # What runs beside the services does not go back: an old gateway has old holes.
    inputs = read_inputs(ground, external, report, locked=after, done=tuple(entries))
    return deploy.deploy(ground, external, report, consent, inputs)


def entries_of(ground: Ground, rollback: Rollback, report: Report, *, today: date) -> dict[str, lock.Entry]:
    """Return each service's line in the lock, proven where the stack is protected; nothing is changed.

    Raises:
        EvidenceError: an image is not in the registry, or its evidence does not hold.
        GateRefused: today's policy refuses an image.
    """
    before = lock.load(ground.workspace.root, rollback.stack.name)
    if rollback.stack.protected:
        entries = proven(ground, rollback.moves, before, report, today=today)
        refuse_unreviewed(ground.workspace.root, lock.path_of(ground.workspace.root, before.stack), entries)
        refuse_moved(entries, f"the release {rollback.to.id}", before.stack)
        return entries
    refs = [move.ref for move in rollback.moves]
    lost = [ref for ref, held in registry.digests(refs).items() if held is None]
    if lost:
        raise EvidenceError(
            f"the registry no longer has {', '.join(lost)}",
            remedy=f"Name another release; `invoke releases --stack {before.stack}` shows them.",
        )
    return {move.service: known(ground, rollback, move, before, report, today=today) for move in rollback.moves}


def proven(
    ground: Ground, moves: Sequence[Move], before: lock.Lock, report: Report, *, today: date
) -> dict[str, lock.Entry]:
    """Return the entries that the evidence in the registry gives, every piece of it verified.

    Raises:
        EvidenceError: evidence does not hold.
        GateRefused: today's policy refuses an image.
    """
    for move in moves:
        report.step(move.service, "verifying")
    wanted = [wanted_of(move, before) for move in moves]
    proofs = evidence.verify(ground, wanted, trust.load(ground.workspace.root), today=today)
    for service in proofs:
        report.done(service, "verified")
    return {service: proof.entry for service, proof in proofs.items()}


def wanted_of(move: Move, before: lock.Lock) -> Wanted:
    """Return what an image has to prove: also what the lock says of it, where it names that image."""
    entry = before.services.get(move.service)
    if entry and entry.ref == move.ref:
        return Wanted.of(move.service, entry)
    return Wanted(move.service, move.ref)


def known(
    ground: Ground, rollback: Rollback, move: Move, before: lock.Lock, report: Report, *, today: date
) -> lock.Entry:
    """Return what is known of an image that needs no evidence: from a lock, its evidence, the release, or its tag."""
    locks = [before, *(lock.load(ground.workspace.root, name) for name in stacks.names(ground.workspace.root))]
    for each in locks:
        entry = each.services.get(move.service)
        if entry and entry.ref == move.ref:
            return entry
    released = ground.workspace.release_repository(move.service, rollback.stack.registry)
    if move.ref.startswith(f"{released}@"):
        with suppress(SlipwayError):  # what it lacks, or cosign, is asked for where the stack is protected
            return proven(ground, [move], before, report, today=today)[move.service]
    return lock.Entry(move.ref, rollback.to.contents.get(move.service) or content_of(move.ref))


def content_of(ref: str) -> str:
    """Return the content digest that an image's tag tells; empty where no such tag is left."""
    told = [tag.removeprefix(CONTENT_TAG) for tag in tags_of(ref) if tag.startswith(CONTENT_TAG)]
    return next((content for content in told if lock.SHA256.fullmatch(content)), "")
