"""Which tags an image has in its repository, found by its digest."""

from __future__ import annotations

from slipway.run import registry


def tags_of(ref: str) -> list[str]:
    """Return the tags that stand for an image, given by digest; those under which evidence is kept are left out.

    Raises:
        SlipwayError: the registry does not answer, or refuses.
    """
    part = registry.parse(ref)
    repository = ref.partition("@")[0]
    listed = registry.open(part.host, "pull").tags(part.repository)
    named = {f"{repository}:{tag}": tag for tag in listed if not registry.FALLBACK.fullmatch(tag)}
    return [named[name] for name, held in registry.digests(named).items() if held == part.reference]
