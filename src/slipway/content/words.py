"""The words of a Dockerfile's line: splitting them, taking their quotes away, replacing their variables."""

from __future__ import annotations

import re
from collections.abc import Mapping

DEEPEST = 50
"""How many braces may stand in each other in a word."""
_NAME = re.compile(r"\d+|[@*#?\-$!]|[^\W\d]\w*")


class BadWord(ValueError):
    """A word that BuildKit could not read either; the text says what is wrong."""


def split(text: str, escape: str) -> tuple[list[str], str]:
    """Return the words of a text, quotes and escapes kept, and the quote that is still open at its end."""
    found: list[str] = []
    word, quote, skip = "", "", False
    for char in text:
        if skip:
            word, skip = word + char, False
        elif char == escape and quote != "'":
            word, skip = word + char, True
        elif char.isspace() and not quote:
            if word:
                found.append(word)
            word = ""
        else:
            word += char
            quote = "" if char == quote else quote or (char if char in "\"'" else "")
    return found + [word] * bool(word), quote


def unquote(word: str, escape: str) -> str:
    """Return a flag's word without its quotes and escapes; variables stay as they are."""
    out, quote, skip = "", "", False
    for char in word:
        if skip:
            out, skip = out + char, False
        elif char == escape:
            skip = True
        elif char in "\"'" and quote in ("", char):
            quote = "" if quote else char
        else:
            out += char
    return out


def expand(word: str, values: Mapping[str, str], escape: str = "\\") -> str:
    """Return a word with its variables replaced and its quotes and escapes taken away; an unset one is empty.

    Replacements: `$X`, `${X}`, with a default or an alternative (`-`, `+`, `?`, each also after `:`), with a start or
    an end cut off (`#`, `##`, `%`, `%%`), and with a part exchanged (`/`, `//`).

    Raises:
        BadWord: a quote or brace is open, or a replacement is of no known kind.
    """
    return _Reader(word, values, escape).until("")


class _Reader:
    """Reads one word from left to right."""

    def __init__(self, word: str, values: Mapping[str, str], escape: str) -> None:
        self.word, self.values, self.escape, self.at = word, values, escape, 0
        self.depth = 0

    def until(self, stop: str, *, raw: bool = False) -> str:
        """Return what stands before a character, expanded, and step over it; nothing means the end.

        With raw, escapes stay in: the text is a pattern.
        """
        out = ""
        while True:
            char = self._next()
            if char == stop:
                return out
            if not char:
                raise BadWord(f"{self.word}: {stop} is missing")
            if char == "'":
                out += self._single()
            elif char == '"':
                out += self._double()
            elif char == "$":
                out += self._variable()
            elif char == self.escape:
                out += (char if raw else "") + self._next()
            else:
                out += char

    def _next(self) -> str:
        char = self.word[self.at : self.at + 1]
        self.at += 1
        return char

    def _single(self) -> str:
        end = self.word.find("'", self.at)
        if end < 0:
            raise BadWord(f"{self.word}: a quote is open")
        text, self.at = self.word[self.at : end], end + 1
        return text

    def _double(self) -> str:
        out = ""
        while (char := self._next()) != '"':
            if not char:
                raise BadWord(f"{self.word}: a quote is open")
            if char == "$":
                out += self._variable()
            elif char == self.escape:
                following = self._next()
                out += following if following in ('"', "$", self.escape) else char + following
            else:
                out += char
        return out

    def _variable(self) -> str:
        braced = self.word.startswith("{", self.at)
        self.at += braced
        if not braced:
            return self._plain()
        self.depth += 1
        if self.depth > DEEPEST:
            raise BadWord(f"{self.word[:DEEPEST]}…: more than {DEEPEST} braces stand in each other")
        value = self._braced()
        self.depth -= 1
        return value

    def _plain(self) -> str:
        name = self._name()
        return self.values.get(name, "") if name else "$"

    def _braced(self) -> str:
        name = self._name()
        if not name:
            raise BadWord(f"{self.word}: no variable is named in the braces")
        return self._replacement(name, self._next())

    def _name(self) -> str:
        match = _NAME.match(self.word, self.at)
        name = match[0] if match else ""
        self.at += len(name)
        return name

    def _replacement(self, name: str, how: str) -> str:
        if how == "}":
            return self.values.get(name, "")
        if how in ("#", "%"):
            return self._trimmed(self.values.get(name, ""), how)
        if how == "/":
            return self._exchanged(self.values.get(name, ""))
        is_set = bool(self.values.get(name)) if how == ":" else name in self.values
        how = self._next() if how == ":" else how
        if how not in ("-", "+", "?") or not how:
            raise BadWord(f"{self.word}: the replacement of {name} is of no known kind")
        other = self.until("}")
        if how == "?" and not is_set:
            raise BadWord(f"{name} is not set: {other or 'it has to be'}")
        if how == "+":
            return other if is_set else ""
        return self.values[name] if is_set else other

    def _trimmed(self, value: str, side: str) -> str:
        pattern = self.until("}", raw=True)
        longest = pattern.startswith(side)
        test = re.compile(_pattern(pattern[longest:]), re.DOTALL)
        lengths = range(len(value) + 1)
        for length in reversed(lengths) if longest else lengths:
            if side == "#" and test.fullmatch(value, 0, length):
                return value[length:]
            if side == "%" and test.fullmatch(value, len(value) - length):
                return value[: len(value) - length]
        return value

    def _exchanged(self, value: str) -> str:
        everywhere = self.word.startswith("/", self.at)
        self.at += everywhere
        test = re.compile(_pattern(self.until("/", raw=True)), re.DOTALL)
        other = self.until("}")
        return test.sub(lambda _: other, value, count=0 if everywhere else 1)


def _pattern(text: str) -> str:
    """Return a shell pattern as a regular expression."""
    out, chars = "", iter(text)
    for char in chars:
        if char == "\\":
            out += re.escape(next(chars, "\\"))
        else:
            out += {"*": ".*", "?": "."}.get(char, re.escape(char))
    return out
