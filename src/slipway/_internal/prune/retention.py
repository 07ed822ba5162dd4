"""Decides which images stay in a repository and why; a pure function that deletes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from slipway._internal.model.gate_settings import RetentionSettings

RepositoryType = Literal["release", "development", "other"]
GRACE_PERIOD = timedelta(days=1)
"""How long an image without a tag stays: a gate may be at work that gives it one last."""
_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class RepositoryImage:
    """One image in a repository: what it is made of (`parts`), and when it was made, where that is known.

    Images are built reproducibly, so they bear no time of their own: a released one's is that of its evidence, and
    in a registry of Slipway's own any image's is that of its file.
    """

    digest: str
    tags: tuple[str, ...] = ()
    parts: frozenset[str] = frozenset()
    created_at: datetime | None = None


@dataclass(frozen=True)
class RetentionDecision:
    """Whether an image stays, and why."""

    image: RepositoryImage
    is_kept: bool
    why: str


def decide_retention(
    images: Sequence[RepositoryImage],
    repository_type: RepositoryType,
    *,
    needed: Mapping[str, str],
    current: Collection[str],
    retention: RetentionSettings,
    now: datetime,
) -> list[RetentionDecision]:
    """Return a verdict for each image of one repository.

    Args:
        images: all of the repository.
        repository_type: what the repository holds; in an `other` one (bases, build cache) every image with a tag stays.
        needed: digest → why something needs it; an image whose part is needed stays as well.
        current: the tags of what the sources are now.
        retention: what workspace.toml says.
        now: the time to reckon from.
    """
    decisions, aging = [], []
    for image in images:
        reason = next((needed[digest] for digest in (image.digest, *sorted(image.parts)) if digest in needed), "")
        if reason:
            decisions.append(RetentionDecision(image, True, reason))
        elif set(image.tags) & set(current):
            decisions.append(RetentionDecision(image, True, "built from the present sources"))
        elif not image.tags:
            decisions.append(_decide_untagged(image, now))
        elif repository_type == "other":
            decisions.append(RetentionDecision(image, True, "it has a tag, and is not a service's"))
        elif image.created_at is None:
            decisions.append(RetentionDecision(image, True, "its age is unknown"))
        else:
            aging.append(image)
    return decisions + _decide_by_age(aging, retention, now)


def _decide_untagged(image: RepositoryImage, now: datetime) -> RetentionDecision:
    if image.created_at is None or now - image.created_at < GRACE_PERIOD:
        return RetentionDecision(image, True, "it has no tag yet: a gate run may be working on it")
    return RetentionDecision(image, False, "it has no tag, and nothing needs it")


def _decide_by_age(
    images: Sequence[RepositoryImage], retention: RetentionSettings, now: datetime
) -> list[RetentionDecision]:
    newest = sorted(images, key=lambda image: (image.created_at or _EARLIEST, image.digest), reverse=True)
    decisions = []
    for rank, image in enumerate(newest):
        is_young = now - (image.created_at or _EARLIEST) < timedelta(days=retention.days)
        if rank < retention.keep:
            decisions.append(RetentionDecision(image, True, f"one of the {retention.keep} newest"))
        elif is_young:
            decisions.append(RetentionDecision(image, True, f"younger than {retention.days} days"))
        else:
            reason = f"nothing needs it, and it is older than {retention.days} days"
            decisions.append(RetentionDecision(image, False, f"{reason} and not one of the {retention.keep} newest"))
    return decisions
