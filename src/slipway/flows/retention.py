"""Decides which images stay in a repository and why; it asks nobody, and deletes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from slipway.model.gate import Retention

Kind = Literal["release", "development", "other"]
GRACE = timedelta(days=1)
"""How long an image without a tag stays: a gate may be at work that gives it one last."""
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Image:
    """One image in a repository: what it is made of (`parts`), and when it was made, where that is known.

    Images are built reproducibly, so they bear no time of their own: a released one's is that of its evidence, and
    in a registry of Slipway's own any image's is that of its file.
    """

    digest: str
    tags: tuple[str, ...] = ()
    parts: frozenset[str] = frozenset()
    made: datetime | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether an image stays, and why."""

    image: Image
    stays: bool
    why: str


def decide(
    images: Sequence[Image],
    kind: Kind,
    *,
    needed: Mapping[str, str],
    current: Collection[str],
    retention: Retention,
    now: datetime,
) -> list[Verdict]:
    """Return a verdict for each image of one repository.

    Args:
        images: all of the repository.
        kind: what the repository holds; in an `other` one (bases, build cache) every image with a tag stays.
        needed: digest → why something needs it; an image whose part is needed stays as well.
        current: the tags of what the sources are now.
        retention: what workspace.toml says.
        now: the time to reckon from.
    """
    verdicts, rest = [], []
    for image in images:
        named = next((needed[each] for each in (image.digest, *sorted(image.parts)) if each in needed), "")
        if named:
            verdicts.append(Verdict(image, True, named))
        elif set(image.tags) & set(current):
            verdicts.append(Verdict(image, True, "what the sources are now"))
        elif not image.tags:
            verdicts.append(_untagged(image, now))
        elif kind == "other":
            verdicts.append(Verdict(image, True, "it has a tag, and is no service's"))
        elif image.made is None:
            verdicts.append(Verdict(image, True, "its age is not known here"))
        else:
            rest.append(image)
    return verdicts + _by_age(rest, retention, now)


def _untagged(image: Image, now: datetime) -> Verdict:
    if image.made is None or now - image.made < GRACE:
        return Verdict(image, True, "it has no tag yet: a gate may be at work on it")
    return Verdict(image, False, "it has no tag, and nothing needs it")


def _by_age(images: Sequence[Image], retention: Retention, now: datetime) -> list[Verdict]:
    newest = sorted(images, key=lambda image: (image.made or _NEVER, image.digest), reverse=True)
    verdicts = []
    for place, image in enumerate(newest):
        young = now - (image.made or _NEVER) < timedelta(days=retention.days)
        if place < retention.keep:
            verdicts.append(Verdict(image, True, f"one of the {retention.keep} newest"))
        elif young:
            verdicts.append(Verdict(image, True, f"younger than {retention.days} days"))
        else:
            old = f"nothing needs it, and it is older than {retention.days} days"
            verdicts.append(Verdict(image, False, f"{old} and not one of the {retention.keep} newest"))
    return verdicts
