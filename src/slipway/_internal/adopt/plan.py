"""What adopting would write, and what it could not carry over: plain data that is shown, staged and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Fate = Literal["carried over", "not carried over", "kept otherwise", "to do", "refused"]
"""What becomes of something: in the service as it was; lost; done by Slipway in its own way; in need of the user's
hand before it works; a reason why the service cannot be adopted at all."""
KIND = "adopted"
"""The kind that the service.toml of an adopted service names, where none of Slipway's kinds was taken."""


@dataclass(frozen=True)
class Row:
    """One thing that the source says: where, and what becomes of it."""

    service: str
    fate: Fate
    where: str
    key: str
    why: str
    instead: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return it for JSON."""
        return {
            "service": self.service,
            "fate": self.fate,
            "where": self.where,
            "key": self.key,
            "why": self.why,
            "instead": self.instead,
        }


@dataclass
class Draft:
    """A service to be written.

    Attributes:
        name: the service's name.
        settings: what its service.toml says, in the order it is written.
        comments: a comment for some of the keys; `kind` begins the file.
        sources: the folder whose files it gets; None for none.
        without: files below that folder which stay out.
        dockerfile: its Dockerfile; None where it has none, or that of a kind.
        files: further files: path in the service → where it is copied from.
        texts: further files that are written: path in the service → what it holds.
        kind: the kind whose files it gets; empty where it gets none.
        rows: what becomes of all that the source says of it.
        is_built_for_route: whether its Dockerfile takes the route as the argument ROUTE, so that it serves below it.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    sources: Path | None = None
    without: frozenset[Path] = frozenset()
    dockerfile: str | None = None
    files: dict[str, Path] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    kind: str = ""
    rows: list[Row] = field(default_factory=list)
    is_built_for_route: bool = False

    @property
    def is_refused(self) -> bool:
        """Whether something in it keeps it from being adopted."""
        return any(row.fate == "refused" for row in self.rows)

    @property
    def route(self) -> str | None:
        """Where it gets requests; None for nowhere."""
        tables = self.settings.get("routes")
        route: str | None = tables[0]["path"] if tables else self.settings.get("route")
        return route

    def tell(self, fate: Fate, where: str, key: str, why: str, instead: str = "") -> None:
        """Take down what becomes of something."""
        self.rows.append(Row(self.name, fate, where, key, why, instead))

    def source_name(self) -> str:
        """Return what it is made from, for a table."""
        if self.kind:
            return f"kind {self.kind}"
        return str(self.settings.get("image") or self.sources or "-")


@dataclass
class Plan:
    """All that is to be written, what belongs to no service, and the commands that are left to the user."""

    source: str
    drafts: list[Draft] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def all_rows(self) -> Iterator[Row]:
        """Yield what becomes of everything, service by service."""
        for draft in self.drafts:
            yield from draft.rows
        yield from self.rows

    def refusals(self) -> list[Row]:
        """Return why services cannot be adopted."""
        return [row for row in self.all_rows() if row.fate == "refused"]

    def as_dict(self) -> Mapping[str, Any]:
        """Return it for JSON."""
        return {
            "source": self.source,
            "services": [
                {
                    "name": draft.name,
                    "from": draft.source_name(),
                    "kind": draft.kind or KIND,
                    "refused": draft.is_refused,
                    "settings": draft.settings,
                }
                for draft in self.drafts
            ],
            "rows": [row.as_dict() for row in self.all_rows()],
            "commands": self.commands,
        }
