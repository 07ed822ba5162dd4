"""What must not go out: found in the texts of a request, or of an answer, and refused or masked.

A request is looked at before it goes to a provider, an answer before it goes to the caller: see app/streams.py for one
that comes in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from typing import Annotated, Any, Literal, NamedTuple

import regex
from pydantic import Field, field_validator

from app.files import Name, SecretName, Table

Action = Literal["refuse", "mask", "allow"]

KEY = (
    r"\b(?:sk|pk|rk|xox[abprs]|gh[pousr]|glpat|hf|AIza)[-_]?[A-Za-z0-9_-]{20,}|\bA(?:KIA|SIA)[A-Z0-9]{16}\b"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"
)
CARD = r"(?<!\d)(?<!\d\.)\d(?:[ -]?\d){13,}"
EMAIL = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}\.){1,8}[A-Za-z]{2,24}\b"

MOST_SECONDS = 1.0
"""That a pattern may take for a text: a pattern of the team's own could take for ever."""
FORM = frozenset({"role", "type", "object", "finish_reason"})
"""Keys of an answer whose values are OpenAI's own words, not a model's."""


class Pattern(Table):
    """A pattern of the team's own; in answers the same is done as in requests, unless `answers` says otherwise."""

    name: Name
    pattern: str = Field(min_length=1)
    action: Action
    answers: Action | None = None

    @field_validator("pattern")
    @classmethod
    def must_compile(cls, pattern: str) -> str:
        """Refuse what is not a pattern, or one that matches nothing at all, which is everywhere."""
        try:
            matches_nothing = regex.compile(pattern).match("")
        except regex.error as error:
            raise ValueError(f"this is not a pattern: {error}") from error
        if matches_nothing:
            raise ValueError("it matches a text of no length")
        return pattern


class AnswerGuards(Table):
    """What is done in answers with what the gateway knows by itself."""

    keys: Action = "mask"
    cards: Action = "mask"
    emails: Action = "allow"


class Moderation(Table):
    """Who is asked whether a text may pass: a server that has OpenAI's /moderations."""

    model: str = Field(min_length=1)
    key: SecretName | None = None
    base_url: str = Field(default="https://api.openai.com/v1", pattern=r"^https?://[^\s/?#@]+[^\s?#@]*$")
    timeout: float = Field(default=10, gt=0, le=600)
    answers: bool = False


class Rule(NamedTuple):
    """What to look for, what to do with it, and whether a match is one."""

    name: str
    pattern: regex.Pattern[str]
    action: Action
    holds: Callable[[str], bool]


class Guards(Table):
    """guards.toml."""

    max_input: int = Field(default=200_000, ge=1, le=50_000_000)
    keys: Action = "refuse"
    cards: Action = "mask"
    emails: Action = "allow"
    answers: AnswerGuards = AnswerGuards()
    patterns: Annotated[tuple[Pattern, ...], Field(strict=False)] = ()
    moderation: Moderation | None = None

    @cached_property
    def rules(self) -> list[Rule]:
        """What to look for in requests."""
        return list(_rules(self, ((each.name, each.pattern, each.action) for each in self.patterns)))

    @cached_property
    def answer_rules(self) -> list[Rule]:
        """What to look for in answers."""
        own = ((each.name, each.pattern, each.answers or each.action) for each in self.patterns)
        return list(_rules(self.answers, own))


def _rules(guards: Guards | AnswerGuards, own: Iterator[tuple[str, str, Action]]) -> Iterator[Rule]:
    built_in = (("key", KEY, guards.keys), ("card", CARD, guards.cards), ("email", EMAIL, guards.emails))
    for name, pattern, action in (*built_in, *own):
        if action != "allow":
            yield Rule(name, regex.compile(pattern), action, has_card if pattern is CARD else _always)


class Refused(Exception):
    """A text has what must not go out; the message says what kind of thing, never the thing."""


def guard(rules: list[Rule], part: Any, passing: frozenset[str] = frozenset()) -> tuple[Any, list[str]]:
    """Return a request, or a part of an answer, with every text of it masked, and the names of what was masked.

    Args:
        passing: keys of tables whose values are no texts.

    Raises:
        Refused: it has what is refused.
    """
    masked: list[str] = []

    def walk(part: Any) -> Any:
        if isinstance(part, str):
            return guard_text(rules, part, masked)
        if isinstance(part, dict):
            return {walk(key): value if key in passing else walk(value) for key, value in part.items()}
        return [walk(item) for item in part] if isinstance(part, list) else part

    return walk(part), sorted(set(masked))


def texts_of(part: Any) -> Iterator[str]:
    """Yield every text of a request."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for key, value in part.items():
            if key not in FORM:
                yield from texts_of(value)
    elif isinstance(part, list):
        for item in part:
            yield from texts_of(item)


def guard_text(rules: list[Rule], text: str, masked: list[str]) -> str:
    """Return a text masked, and add the names of what was masked.

    Raises:
        Refused: it has what is refused, or a pattern takes too long for it.
    """
    for rule in rules:

        def replace(match: regex.Match[str], rule: Rule = rule) -> str:
            return mask(rule, match[0], masked)

        try:
            text = rule.pattern.sub(replace, text, timeout=MOST_SECONDS)
        except TimeoutError:
            raise takes_too_long(rule) from None
    return text


def mask(rule: Rule, found: str, masked: list[str]) -> str:
    """Return what stands for a match, and add its name; the match itself where it only looks like one.

    Raises:
        Refused: it must not go out at all.
    """
    if not rule.holds(found):
        return found
    if rule.action == "refuse":
        raise Refused(f"there is what looks like a {rule.name}, which must not go out")
    masked.append(rule.name)
    return f"[{rule.name}]"


def takes_too_long(rule: Rule) -> Refused:
    """Return why a text is refused that a pattern could not be looked for in."""
    return Refused(f"the pattern {rule.name} takes too long for this text")


def has_card(text: str) -> bool:
    """Whether a card's number is among groups of digits: of a card's length, and right by Luhn's check."""
    groups = regex.split("[ -]", text)
    some = ("".join(groups[start:end]) for start in range(len(groups)) for end in range(start + 1, start + 7))
    candidates = chain(["".join(groups)], some)
    return any(len(each) in (14, 15, 16, 19) and each[0] in "23456" and _is_right(each) for each in candidates)


def _is_right(number: str) -> bool:
    digits = [int(digit) for digit in reversed(number)]
    doubled = (2 * digit - 9 * (digit > 4) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _always(_text: str) -> bool:
    return True
