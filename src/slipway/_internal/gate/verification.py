"""Verifies every digest, with its evidence, before anything is deployed to a protected stack."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from slipway._internal.context import commits
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import evidence, prebuilt_images
from slipway._internal.gate.evidence import EvidenceRequirement, VerifiedImage
from slipway._internal.model import lock, trust
from slipway._internal.model.errors import EvidenceError
from slipway._internal.model.names import content_tag
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.run import registry


def verify_stack(
    context: RunContext,
    stack: Stack,
    services: Sequence[Service],
    stack_lock: lock.Lock | None = None,
    *,
    already_verified: Collection[str] = (),
) -> dict[str, VerifiedImage]:
    """Verify what a stack's lock says of services and of what runs beside them: digests, tags and all evidence.

    Args:
        context: has cosign.
        stack: the stack.
        services: which ones; what runs beside them is verified in any case, where there is any.
        stack_lock: the lock, where it was read already: what is verified is what was read.
        already_verified: the names of those that were verified just now.

    Returns:
        The proof of each, by name.

    Raises:
        EvidenceError: one is not locked, or its evidence or tag is missing, changed, or somebody else's.
        GateRefused: today's policy refuses what the scan had found.
        SlipwayError: the registry does not answer.
    """
    workspace = context.workspace
    path = lock.path_of(workspace.root, stack.name)
    stack_lock = stack_lock or lock.load(workspace.root, stack.name)
    remedy = f"Run `invoke ship --stack {stack.name}`, or `invoke promote` from a stack that has passed the gate."
    missing = [service.name for service in services if service.name not in stack_lock.services]
    if missing:
        raise EvidenceError(f"{path} has no digest for {', '.join(missing)}", remedy=remedy)
    prebuilt_images.refuse_missing(workspace, stack, stack_lock, stack.name)
    prebuilt_entries = {
        name: stack_lock.beside[name] for name in prebuilt_images.names_for(stack) if name in stack_lock.beside
    }
    entries = {**{service.name: stack_lock.services[service.name] for service in services}, **prebuilt_entries}
    entries = {name: entry for name, entry in entries.items() if name not in already_verified}
    ungated = [name for name, entry in entries.items() if not entry.evidence]
    if ungated:
        raise EvidenceError(f"{path}: {', '.join(ungated)} never went through the gate", remedy=remedy)
    repositories = {name: [workspace.release_repository(name, stack.registry)] for name in entries}
    lock.refuse_foreign_images(path, entries, repositories)
    if stack.protected:
        commits.refuse_unreviewed(workspace.root, path, entries)
    refuse_mismatched_tags(context.workspace, entries, path.name, stack.name)
    requirements = [requirement_for(workspace, name, entry) for name, entry in entries.items()]
    return evidence.verify_evidence(context, requirements, trust.load(workspace.root), today=datetime.now(UTC).date())


def requirement_for(workspace: Workspace, name: str, entry: lock.LockEntry) -> EvidenceRequirement:
    """Return what a line in a lock has to prove, by whether its image is built here."""
    return EvidenceRequirement.from_entry(name, entry, prebuilt_images.evidence_kinds_of(workspace, name))


def refuse_mismatched_tags(workspace: Workspace, entries: Mapping[str, lock.LockEntry], name: str, stack: str) -> None:
    """Refuse when the tag of a content is not of the image that it should be of.

    Args:
        workspace: whose login is taken.
        entries: what is said of each service.
        name: what says it.
        stack: whose images they are.

    Raises:
        EvidenceError: it was moved by hand, or what is said was changed.
        SlipwayError: the registry does not answer.
    """
    tags = {f"{entry.ref.partition('@')[0]}:{content_tag(entry.content)}": entry.ref for entry in entries.values()}
    registry_digests = registry.resolve_digests(tags, workspace)
    moved = [
        f"{tag} is {registry_digests[tag] or 'not there'}, but {name} says {ref.partition('@')[2]}"
        for tag, ref in tags.items()
        if registry_digests[tag] != ref.partition("@")[2]
    ]
    if moved:
        raise EvidenceError(
            f"the registry's tags are not what {name} says: a tag was moved by hand, or that was changed",
            detail="\n".join(moved),
            remedy="`git log` of the lock and the registry's own log say who; "
            f"`invoke ship --stack {stack}` makes both fit again.",
        )
