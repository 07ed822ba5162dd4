"""Guards on an answer that comes in pieces: what may still become something that must not go out is held back.

`regex` can say whether a text's end is the beginning of a match. All before the first such place is decided, and goes
out at once; the rest waits for the next piece, or for the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.guards import FORM, MOST_SECONDS, Refused, Rule, guard, mask, takes_too_long

CONTEXT = 64
"""Characters that have gone out and are kept, for patterns that look at what is before them."""
MOST_HELD = 16_384
"""Characters that may wait; a text that stays undecided for longer is refused."""

Chunk = dict[str, Any]
Place = tuple[str | int, ...]
"""Where a text stands: the number of its choice, then the keys that lead to it."""


class HeldText:
    """One text of a stream: what has been said, and may not go out yet."""

    def __init__(self, rules: list[Rule], masked: list[str]) -> None:
        self._rules = rules
        self._masked = masked
        self._sent = ""
        self._held = ""

    def add(self, piece: str) -> str:
        """Return what may go out when a piece has been added.

        Raises:
            Refused: it has what must not go out.
        """
        self._held += piece
        safe = len(self._held)
        for rule in self._rules:
            safe = self._look(rule, safe)
        if len(self._held) - safe > MOST_HELD:
            raise Refused("there is a text of which it cannot be decided whether it may go out")
        return self._take(safe)

    def end(self) -> str:
        """Return the rest, masked: no piece will be added."""
        for rule in self._rules:
            self._replace(rule, len(self._held))
        return self._take(len(self._held))

    def _take(self, count: int) -> str:
        out, self._held = self._held[:count], self._held[count:]
        self._sent = (self._sent + out)[-CONTEXT:]
        return out

    def _look(self, rule: Rule, safe: int) -> int:
        """Mask what is decided, and return how much of the text may go out as far as this rule knows."""
        text, before = self._sent + self._held, len(self._sent)
        try:
            for start in range(before, before + safe):
                if rule.pattern.fullmatch(text, start, partial=True, timeout=MOST_SECONDS):
                    safe = start - before
                    break
        except TimeoutError:
            raise takes_too_long(rule) from None
        return self._replace(rule, safe)

    def _replace(self, rule: Rule, safe: int) -> int:
        """Mask what ends before a place, and return where that place is then."""
        text, before = self._sent + self._held, len(self._sent)
        parts, done, limit = [], before, before + safe
        try:
            for match in rule.pattern.finditer(text, before, timeout=MOST_SECONDS):
                if match.end() > limit:
                    safe = min(safe, safe - (limit - match.start()))
                    break
                shown = mask(rule, match[0], self._masked)
                parts += [text[done : match.start()], shown]
                done = match.end()
                safe += len(shown) - len(match[0])
        except TimeoutError:
            raise takes_too_long(rule) from None
        self._held = "".join(parts) + text[done:]
        return safe


class StreamGuard:
    """The guards of one answer: its choices, and what each of them says, are looked at apart."""

    def __init__(self, rules: list[Rule]) -> None:
        self._rules = rules
        self._masked: list[str] = []
        self._texts: dict[Place, HeldText] = {}
        self._last: Chunk = {}

    @property
    def masked(self) -> list[str]:
        """The names of what was masked so far."""
        return sorted(set(self._masked))

    def pass_on(self, chunk: Chunk) -> Iterator[Chunk]:
        """Yield chunks with what may go out now; when a choice ends, with all that it still had.

        Raises:
            Refused: it has what must not go out.
        """
        if not self._rules:
            yield chunk
            return
        if choices := chunk.get("choices") or []:
            self._last = chunk
        for choice in choices:
            number = choice.get("index", 0)
            for key in [key for key in choice if key not in (*FORM, "index")]:
                choice[key] = self._walk((number, key), choice[key])
            if choice.get("finish_reason"):
                said = {key: choice.pop(key) for key in ("delta", "text", "logprobs") if key in choice}
                yield _only(chunk, {"index": number, "finish_reason": None, **said})
                yield from self._rest(chunk, number)
                choice.update({"delta": {}} if "delta" in said else {"text": ""})
        yield chunk

    def end(self) -> Iterator[Chunk]:
        """Yield what choices still had of which nobody has said that they ended: LiteLLM says it of one alone."""
        for number in sorted({place[0] for place in self._texts}, key=str):
            yield from self._rest(self._last, number)

    def _walk(self, place: Place, part: Any) -> Any:
        if isinstance(part, str):
            text = self._texts.get(place) or self._texts.setdefault(place, HeldText(self._rules, self._masked))
            return text.add(part)
        if isinstance(part, dict):
            return {
                key: value if key in FORM or key in ("id", "index") else self._walk((*place, key), value)
                for key, value in part.items()
            }
        if isinstance(part, list):
            # Pieces of tools' calls name the call that they are of.
            return [
                self._walk((*place, item.get("index", at) if isinstance(item, dict) else at), item)
                for at, item in enumerate(part)
            ]
        return part

    def _rest(self, chunk: Chunk, number: str | int) -> Iterator[Chunk]:
        """Yield what a choice still had, each text in a chunk of its own."""
        for place in [place for place in self._texts if place[0] == number]:
            rest = self._texts.pop(place).end()
            if rest:
                yield _only(chunk, {"index": number, "finish_reason": None, **_nested(place[1:], rest)})


def _only(chunk: Chunk, choice: dict[str, Any]) -> Chunk:
    """Return a chunk like another, with one choice."""
    return {**{key: value for key, value in chunk.items() if key != "usage"}, "choices": [choice]}


def _nested(place: Place, text: str) -> dict[str, Any]:
    """Return tables and lists that lead to a text."""
    found: Any = text
    for step in reversed(place):
        if isinstance(step, str):
            found = {step: found}
        else:
            found = [{"index": step, **found} if isinstance(found, dict) else found]
    made: dict[str, Any] = found
    return made


def guard_answer(rules: list[Rule], choices: list[Any]) -> tuple[list[Any], list[str]]:
    """Return the choices of a whole answer, masked, and the names of what was masked.

    Raises:
        Refused: they have what must not go out.
    """
    if not rules:
        return choices, []
    return guard(rules, choices, FORM)
