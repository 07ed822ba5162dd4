"""What a protected stack asks before anything is deployed: every digest proven anew, nothing taken on trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from slipway.flows import commits, evidence
from slipway.flows.evidence import Proof, Wanted
from slipway.flows.standing import Ground
from slipway.model import lock, trust
from slipway.model.errors import EvidenceError
from slipway.model.names import content_tag
from slipway.model.stack import Stack
from slipway.model.workspace import Service
from slipway.run import registry


def verify(ground: Ground, stack: Stack, services: Sequence[Service]) -> dict[str, Proof]:
    """Verify what a stack's lock says of services: its digests, their tags and all their evidence.

    Returns:
        The proof of each service.

    Raises:
        EvidenceError: a service is not locked, or its evidence or tag is missing, changed, or somebody else's.
        GateRefused: today's policy refuses what the scan had found.
        SlipwayError: the registry does not answer.
    """
    workspace = ground.workspace
    path = lock.path_of(workspace.root, stack.name)
    locked = lock.load(workspace.root, stack.name).services
    remedy = f"Run `invoke ship --stack {stack.name}`, or `invoke promote` from a stack that has passed the gate."
    missing = [each.name for each in services if each.name not in locked]
    if missing:
        raise EvidenceError(f"{path} has no digest for {', '.join(missing)}", remedy=remedy)
    unproven = [each.name for each in services if not locked[each.name].evidence]
    if unproven:
        raise EvidenceError(f"{path}: {', '.join(unproven)} never went through the gate", remedy=remedy)
    entries = {each.name: locked[each.name] for each in services}
    places = {each.name: [workspace.release_repository(each.name, stack.registry)] for each in services}
    lock.refuse_elsewhere(path, entries, places)
    if stack.protected:
        commits.refuse_unreviewed(workspace.root, path, entries)
    refuse_moved(entries, path.name)
    wanted = [Wanted.of(name, entry) for name, entry in entries.items()]
    return evidence.verify(ground, wanted, trust.load(workspace.root), today=datetime.now(UTC).date())


def refuse_moved(entries: Mapping[str, lock.Entry], name: str) -> None:
    """Refuse when the tag of a content is not of the image that it should be of.

    Args:
        entries: what is said of each service.
        name: what says it.

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
            remedy="`git log` of the lock and the registry's own log say who; `invoke ship` makes both fit again.",
        )
