"""What a repository holds: images, what they are made of, and the evidence that refers to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from slipway.flows.retention import Image, Kind
from slipway.run.registry import AT_ONCE, FALLBACK, Manifest, Registry

CREATED = "org.opencontainers.image.created"


@dataclass
class Stock:
    """One repository's manifests by digest. `tags` and `came` are what the registry and its files tell of them."""

    registry: Registry
    repository: str
    kind: Kind
    manifests: dict[str, Manifest] = field(default_factory=dict)
    tags: dict[str, list[str]] = field(default_factory=dict)
    came: Mapping[str, datetime] = field(default_factory=dict)
    evidence: dict[str, list[str]] = field(default_factory=dict)
    """A subject's digest → what refers to it, the indexes that only list that last."""

    @property
    def name(self) -> str:
        return f"{self.registry.host}/{self.repository}"

    def images(self) -> list[Image]:
        """Return what is an image of its own: no evidence, and no part of another unless it has a tag itself."""
        evidence = {digest for found in self.evidence.values() for digest in found}
        tops = [digest for digest in self.manifests if digest not in evidence]
        parts = {part for digest in tops for part in self.parts(digest)}
        return [
            Image(digest, tuple(self.tags.get(digest, ())), frozenset(self.parts(digest)), self.made(digest))
            for digest in tops
            if digest not in parts or self.tags.get(digest)
        ]

    def parts(self, digest: str) -> list[str]:
        """Return the digests of all manifests that an index lists, at any depth."""
        found: list[str] = []
        todo = [digest]
        while todo:
            manifest = self.manifests.get(todo.pop())
            for each in manifest.children if manifest else ():
                if each["digest"] not in found:
                    found.append(each["digest"])
                    todo.append(each["digest"])
        return found

    def proofs(self, digests: Iterable[str]) -> list[str]:
        """Return all evidence of manifests, and the evidence of that, in the order in which it may be deleted."""
        found: list[str] = []
        todo = list(digests)
        while todo:
            new = [each for each in self.evidence.get(todo.pop(0), ()) if each not in found]
            found += new
            todo += new
        return found

    def whole(self, digest: str) -> list[str]:
        """Return an image with its parts and all their evidence, in the order in which they may be deleted."""
        image = [digest, *self.parts(digest)]
        return [*image, *self.proofs(image)]

    def made(self, digest: str) -> datetime | None:
        """Return when an image was made: the time of its newest evidence, else of its file where that is known."""
        times = [_time(self.manifests[each]) for each in self.proofs([digest]) if each in self.manifests]
        return max((each for each in times if each), default=self.came.get(digest))

    def blobs(self, digests: Iterable[str]) -> dict[str, int]:
        """Return the size of each blob that manifests are and name."""
        found = {}
        for digest in digests:
            if manifest := self.manifests.get(digest):
                found[digest] = len(manifest.bytes)
                found |= {str(each["digest"]): int(each.get("size") or 0) for each in manifest.blobs}
        return found


def take(
    registry: Registry, repository: str, kind: Kind, came: Mapping[str, datetime], also: Iterable[str] = ()
) -> Stock:
    """Return what a repository holds.

    Args:
        registry: which has it.
        repository: its name there.
        kind: what it is for.
        came: digest → when it came, of every manifest, where the registry's files are at hand.
        also: digests to look for as well: registries do not tell what has no tag.

    Raises:
        SlipwayError: the registry does not answer, or refuses.
    """
    stock = Stock(registry, repository, kind, came=came)
    with ThreadPoolExecutor(AT_ONCE) as pool:

        def fetch(references: Iterable[str]) -> list[Manifest]:
            found = list(pool.map(lambda each: (each, registry.find(repository, each)), dict.fromkeys(references)))
            for reference, manifest in found:
                if manifest:
                    stock.manifests[manifest.digest] = manifest
                    if not reference.startswith("sha256:"):
                        stock.tags.setdefault(manifest.digest, []).append(reference)
            return [manifest for _, manifest in found if manifest]

        new = fetch([*registry.tags(repository), *came, *also])
        while new:
            listed = {str(each["digest"]) for manifest in new for each in manifest.children}
            listed |= _referring(stock, pool, [manifest.digest for manifest in new])
            new = fetch(listed - stock.manifests.keys())
    _find_evidence(stock)
    return stock


def _referring(stock: Stock, pool: ThreadPoolExecutor, digests: list[str]) -> set[str]:
    """Return what refers to manifests, where the registry keeps that itself; else there are indexes with tags."""
    if not stock.registry.has_referrers_api(stock.repository, digests[0]):
        return set()
    found = pool.map(lambda digest: stock.registry.referrers(stock.repository, digest), digests)
    return {each.digest for referrers in found for each in referrers}


def _find_evidence(stock: Stock) -> None:
    """Note whose evidence manifests are: those that name a subject themselves, then the indexes that list them.

    What an index says alone makes nothing evidence: it may list anything.
    """
    subjects = {digest: _subject(manifest) for digest, manifest in stock.manifests.items()}
    for digest, subject in subjects.items():
        if subject:
            stock.evidence.setdefault(subject, []).append(digest)
    for digest, manifest in stock.manifests.items():
        found = [FALLBACK.fullmatch(tag) for tag in stock.tags.get(digest, ())]
        of = {f"sha256:{each[1]}" for each in found if each}
        listed = {subjects.get(str(each["digest"]), "") for each in manifest.children}
        if not stock.tags.get(digest) and len(listed) == 1:  # what the index under the tag was before
            of |= listed - {""}
        for subject in of:
            stock.evidence.setdefault(subject, []).append(digest)


def _subject(manifest: Manifest) -> str:
    found = manifest.content.get("subject")
    return str(found.get("digest") or "") if isinstance(found, dict) else ""


def _time(manifest: Manifest) -> datetime | None:
    annotations: Any = manifest.content.get("annotations")
    try:
        found = datetime.fromisoformat(str(annotations[CREATED]))
    except (ValueError, LookupError, TypeError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
