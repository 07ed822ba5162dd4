"""What a protected stack asks before anything is deployed: every digest proven anew, nothing taken on trust."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from slipway.commands.cosign import KINDS
from slipway.flows import beside, commits, evidence
from slipway.flows.evidence import Proof, Wanted
from slipway.flows.standing import Ground
from slipway.model import lock, trust
from slipway.model.errors import EvidenceError
from slipway.model.names import content_tag
from slipway.model.stack import Stack
from slipway.model.workspace import Service
from slipway.run import registry


def verify(
    ground: Ground,
    stack: Stack,
    services: Sequence[Service],
    locked: lock.Lock | None = None,
    *,
    done: Collection[str] = (),
) -> dict[str, Proof]:
    """Verify what a stack's lock says of services and of what runs beside them: digests, tags and all evidence.

    Args:
        ground: has cosign.
        stack: the stack.
        services: which ones; what runs beside them is verified in any case, where there is any.
        locked: the lock, where it was read already: what is verified is what was read.
        done: the names of those that were verified just now.

    Returns:
        The proof of each, by name.

    Raises:
        EvidenceError: one is not locked, or its evidence or tag is missing, changed, or somebody else's.
        GateRefused: today's policy refuses what the scan had found.
        SlipwayError: the registry does not answer.
    """
    workspace = ground.workspace
    path = lock.path_of(workspace.root, stack.name)
    locked = locked or lock.load(workspace.root, stack.name)
    remedy = f"Run `invoke ship --stack {stack.name}`, or `invoke promote` from a stack that has passed the gate."
    missing = [each.name for each in services if each.name not in locked.services]
    if missing:
        raise EvidenceError(f"{path} has no digest for {', '.join(missing)}", remedy=remedy)
    beside.refuse_missing(workspace, stack, locked, stack.name)
    ours = {name: locked.beside[name] for name in beside.names(stack) if name in locked.beside}
    entries = {**{each.name: locked.services[each.name] for each in services}, **ours}
    entries = {name: entry for name, entry in entries.items() if name not in done}
    unproven = [name for name, entry in entries.items() if not entry.evidence]
    if unproven:
        raise EvidenceError(f"{path}: {', '.join(unproven)} never went through the gate", remedy=remedy)
    places = {name: [workspace.release_repository(name, stack.registry)] for name in entries}
    lock.refuse_elsewhere(path, entries, places)
    if stack.protected:
        commits.refuse_unreviewed(workspace.root, path, entries)
    refuse_moved(entries, path.name, stack.name)
    wanted = [wanted_of(name, entry) for name, entry in entries.items()]
    return evidence.verify(ground, wanted, trust.load(workspace.root), today=datetime.now(UTC).date())


def wanted_of(name: str, entry: lock.Entry) -> Wanted:
    """Return what a line in a lock has to prove, by whether it is a service's."""
    return Wanted.of(name, entry, beside.KINDS if name in lock.BESIDE else KINDS)


def refuse_moved(entries: Mapping[str, lock.Entry], name: str, stack: str) -> None:
    """Refuse when the tag of a content is not of the image that it should be of.

    Args:
        entries: what is said of each service.
        name: what says it.
        stack: whose images they are.

    Raises:
        EvidenceError: it was moved by hand, or what is said was changed.
        SlipwayError: the registry does not answer.
    """
    tags = {f"{each.ref.partition('@')[0]}:{content_tag(each.content)}": each.ref for each in entries.values()}
    there = registry.digests(tags)
    moved = [
        f"{tag} is {there[tag] or 'not there'}, but {name} says {ref.partition('@')[2]}"
        for tag, ref in tags.items()
        if there[tag] != ref.partition("@")[2]
    ]
    if moved:
        raise EvidenceError(
            f"the registry's tags are not what {name} says: a tag was moved by hand, or that was changed",
            detail="\n".join(moved),
            remedy="`git log` of the lock and the registry's own log say who; "
            f"`invoke ship --stack {stack}` makes both fit again.",
        )
