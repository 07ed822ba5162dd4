"""What must not go out to a provider: found in a request's texts, and refused or masked.

Guards look at what callers send, not at what models answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from app.files import Name, Table

Action = Literal["refuse", "mask", "allow"]

KEY = (
    r"\b(?:sk|pk|rk|xox[abprs]|gh[pousr]|glpat|hf|AIza)[-_]?[A-Za-z0-9_-]{20,}|\bA(?:KIA|SIA)[A-Z0-9]{16}\b"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"
)
CARD = r"(?<!\d)(?<!\d\.)\d(?:[ -]?\d){13,}"
EMAIL = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}\.){1,8}[A-Za-z]{2,24}\b"


class Pattern(Table):
    """A pattern of the team's own."""

    name: Name
    pattern: str = Field(min_length=1)
    action: Literal["refuse", "mask"]

    @field_validator("pattern")
    @classmethod
    def must_compile(cls, pattern: str) -> str:
        """Refuse what is not a pattern, or one that matches nothing at all, which is everywhere."""
        try:
            matches_nothing = re.compile(pattern).match("")
        except re.error as error:
            raise ValueError(f"this is not a pattern: {error}") from error
        if matches_nothing:
            raise ValueError("it matches a text of no length")
        return pattern


class Guards(Table):
    """guards.toml."""

    max_input: int = Field(default=200_000, ge=1, le=50_000_000)
    keys: Action = "refuse"
    cards: Action = "mask"
    emails: Action = "allow"
    patterns: Annotated[tuple[Pattern, ...], Field(strict=False)] = ()

    @cached_property
    def rules(self) -> list[tuple[str, re.Pattern[str], Action, Callable[[str], bool]]]:
        """What to look for: its name, its pattern, what to do, and whether a match is one."""
        built_in = (("key", KEY, self.keys, _always), ("card", CARD, self.cards, has_card))
        own = ((each.name, each.pattern, each.action, _always) for each in self.patterns)
        every = (*built_in, ("email", EMAIL, self.emails, _always), *own)
        return [(name, re.compile(pattern), action, holds) for name, pattern, action, holds in every]


class Refused(Exception):
    """A request has what must not go out; the message says what kind of thing, never the thing."""


def guard(guards: Guards, request: Any) -> tuple[Any, list[str]]:
    """Return a request with every text of it masked, and the names of what was masked.

    Raises:
        Refused: it has what is refused.
    """
    masked: list[str] = []

    def walk(part: Any) -> Any:
        if isinstance(part, str):
            return _guard_text(guards, part, masked)
        if isinstance(part, dict):
            return {walk(key): walk(value) for key, value in part.items()}
        return [walk(item) for item in part] if isinstance(part, list) else part

    return walk(request), sorted(set(masked))


def _guard_text(guards: Guards, text: str, masked: list[str]) -> str:
    for name, pattern, action, holds in guards.rules:
        if action == "allow":
            continue

        def replace(match: re.Match[str], name: str = name, action: str = action, holds: Any = holds) -> str:
            if not holds(match[0]):
                return match[0]
            if action == "refuse":
                raise Refused(f"the request has what looks like a {name}, which must not go out; remove it")
            masked.append(name)
            return f"[{name}]"

        text = pattern.sub(replace, text)
    return text


def has_card(text: str) -> bool:
    """Whether a card's number is among groups of digits: of a card's length, and right by Luhn's check."""
    groups = re.split("[ -]", text)
    some = ("".join(groups[start:end]) for start in range(len(groups)) for end in range(start + 1, start + 7))
    candidates = chain(["".join(groups)], some)
    return any(len(each) in (14, 15, 16, 19) and each[0] in "23456" and _is_right(each) for each in candidates)


def _is_right(number: str) -> bool:
    digits = [int(digit) for digit in reversed(number)]
    doubled = (2 * digit - 9 * (digit > 4) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _always(_text: str) -> bool:
    return True
