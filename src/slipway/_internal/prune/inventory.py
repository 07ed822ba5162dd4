"""What a repository holds: images, what they are made of, and the evidence that refers to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from slipway._internal.prune.retention import RepositoryImage, RepositoryType
from slipway._internal.run.registries.references import CREATED_ANNOTATION
from slipway._internal.run.registry import FALLBACK_TAG_PATTERN, MAX_CONCURRENT_REQUESTS, Manifest, Registry


@dataclass
class RepositoryInventory:
    """One repository's manifests by digest; `tags` and `uploaded_at` are what the registry and its files tell."""

    registry: Registry
    repository: str
    repository_type: RepositoryType
    manifests: dict[str, Manifest] = field(default_factory=dict)
    tags: dict[str, list[str]] = field(default_factory=dict)
    uploaded_at: Mapping[str, datetime] = field(default_factory=dict)
    evidence: dict[str, list[str]] = field(default_factory=dict)
    """A subject's digest → what refers to it, the indexes that only list that last."""

    @property
    def name(self) -> str:
        return f"{self.registry.host}/{self.repository}"

    def images(self) -> list[RepositoryImage]:
        """Return what is an image of its own: no evidence, and no part of another unless it has a tag itself."""
        evidence = {digest for referrers in self.evidence.values() for digest in referrers}
        top_level = [digest for digest in self.manifests if digest not in evidence]
        parts = {part for digest in top_level for part in self.parts(digest)}
        return [
            RepositoryImage(
                digest, tuple(self.tags.get(digest, ())), frozenset(self.parts(digest)), self.created_at(digest)
            )
            for digest in top_level
            if digest not in parts or self.tags.get(digest)
        ]

    def parts(self, digest: str) -> list[str]:
        """Return the digests of all manifests that an index lists, at any depth."""
        parts: list[str] = []
        pending = [digest]
        while pending:
            manifest = self.manifests.get(pending.pop())
            for descriptor in manifest.children if manifest else ():
                if descriptor["digest"] not in parts:
                    parts.append(descriptor["digest"])
                    pending.append(descriptor["digest"])
        return parts

    def evidence_of(self, digests: Iterable[str]) -> list[str]:
        """Return all evidence of manifests, and the evidence of that, in the order in which it may be deleted."""
        evidence: list[str] = []
        pending = list(digests)
        while pending:
            new = [digest for digest in self.evidence.get(pending.pop(0), ()) if digest not in evidence]
            evidence += new
            pending += new
        return evidence

    def with_dependents(self, digest: str) -> list[str]:
        """Return an image with its parts and all their evidence, in the order in which they may be deleted."""
        image = [digest, *self.parts(digest)]
        return [*image, *self.evidence_of(image)]

    def created_at(self, digest: str) -> datetime | None:
        """Return when an image was made: the time of its newest evidence, else of its file where that is known."""
        times = [_creation_time(self.manifests[item]) for item in self.evidence_of([digest]) if item in self.manifests]
        return max((item for item in times if item), default=self.uploaded_at.get(digest))

    def blob_sizes(self, digests: Iterable[str]) -> dict[str, int]:
        """Return the size of each blob that manifests are and name."""
        sizes = {}
        for digest in digests:
            if manifest := self.manifests.get(digest):
                sizes[digest] = len(manifest.bytes)
                sizes |= {str(descriptor["digest"]): int(descriptor.get("size") or 0) for descriptor in manifest.blobs}
        return sizes


def take_inventory(
    registry: Registry,
    repository: str,
    repository_type: RepositoryType,
    uploaded_at: Mapping[str, datetime],
    extra_digests: Iterable[str] = (),
) -> RepositoryInventory:
    """Return what a repository holds.

    Args:
        registry: which has it.
        repository: its name there.
        repository_type: what it is for.
        uploaded_at: digest → when it came, of every manifest, where the registry's files are at hand.
        extra_digests: digests to look for as well: registries do not tell what has no tag.

    Raises:
        SlipwayError: the registry does not answer, or refuses.
    """
    inventory = RepositoryInventory(registry, repository, repository_type, uploaded_at=uploaded_at)
    with ThreadPoolExecutor(MAX_CONCURRENT_REQUESTS) as pool:

        def fetch(references: Iterable[str]) -> list[Manifest]:
            manifests = list(
                pool.map(lambda item: (item, registry.find_manifest(repository, item)), dict.fromkeys(references))
            )
            for reference, manifest in manifests:
                if manifest:
                    inventory.manifests[manifest.digest] = manifest
                    if not reference.startswith("sha256:"):
                        inventory.tags.setdefault(manifest.digest, []).append(reference)
            return [manifest for _, manifest in manifests if manifest]

        new = fetch([*registry.list_tags(repository), *uploaded_at, *extra_digests])
        while new:
            listed = {str(item["digest"]) for manifest in new for item in manifest.children}
            listed |= _list_referrers(inventory, pool, [manifest.digest for manifest in new])
            new = fetch(listed - inventory.manifests.keys())
    _index_evidence(inventory)
    return inventory


def _list_referrers(inventory: RepositoryInventory, pool: ThreadPoolExecutor, digests: list[str]) -> set[str]:
    """Return what refers to manifests, where the registry keeps that itself; else there are indexes with tags."""
    if not inventory.registry.has_referrers_api(inventory.repository, digests[0]):
        return set()
    referrer_lists = pool.map(lambda digest: inventory.registry.list_referrers(inventory.repository, digest), digests)
    return {referrer.digest for referrers in referrer_lists for referrer in referrers}


def _index_evidence(inventory: RepositoryInventory) -> None:
    """Note whose evidence manifests are: those that name a subject themselves, then the indexes that list them.

    What an index says alone makes nothing evidence: it may list anything.
    """
    subjects = {digest: _subject_digest(manifest) for digest, manifest in inventory.manifests.items()}
    for digest, subject in subjects.items():
        if subject:
            inventory.evidence.setdefault(subject, []).append(digest)
    for digest, manifest in inventory.manifests.items():
        matches = [FALLBACK_TAG_PATTERN.fullmatch(tag) for tag in inventory.tags.get(digest, ())]
        subject_digests = {f"sha256:{item[1]}" for item in matches if item}
        listed_subjects = {subjects.get(str(item["digest"]), "") for item in manifest.children}
        if not inventory.tags.get(digest) and len(listed_subjects) == 1:  # what the index under the tag was before
            subject_digests |= listed_subjects - {""}
        for subject in subject_digests:
            inventory.evidence.setdefault(subject, []).append(digest)


def _subject_digest(manifest: Manifest) -> str:
    subject = manifest.content.get("subject")
    return str(subject.get("digest") or "") if isinstance(subject, dict) else ""


def _creation_time(manifest: Manifest) -> datetime | None:
    annotations: Any = manifest.content.get("annotations")
    try:
        created = datetime.fromisoformat(str(annotations[CREATED_ANNOTATION]))
    except (ValueError, LookupError, TypeError):
        return None
    return created if created.tzinfo else created.replace(tzinfo=UTC)
