"""A service's status, as every target reports it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

GATEWAY = "gateway"
STATE_COLOURS = {"healthy": "green", "running": "green", "scheduled": "green", "starting": "yellow"}


@dataclass(frozen=True)
class ServiceStatus:
    """A service's status. `drift` says how it differs from what was deployed, or is empty."""

    columns: ClassVar[tuple[str, ...]] = ("service", "state", "image", "since", "drift")

    service: str
    state: str
    image: str
    since: str
    drift: str

    @property
    def coloured_state(self) -> str:
        return f"[{STATE_COLOURS.get(self.state, 'red')}]{self.state}[/]"

    @property
    def cells(self) -> tuple[str, ...]:
        """The service's row in a table of these columns."""
        return self.service, self.coloured_state, self.image, self.since, self.drift or "none"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def shorten_image(image: str) -> str:
    """Return an image with its digest cut to twelve characters."""
    name, separator, digest = image.partition("@sha256:")
    return f"{name}{separator}{digest[:12]}" if separator else image


def format_age(timestamp: int) -> str:
    """Return the time since a timestamp (seconds since 1970), in the largest unit that fits."""
    seconds = max(0, int(time.time() - timestamp))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
