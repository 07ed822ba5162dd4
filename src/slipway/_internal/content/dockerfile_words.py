"""Splits a Dockerfile's line into words, removes quotes and replaces variables."""

from __future__ import annotations

import re
from collections.abc import Mapping

MAX_BRACE_DEPTH = 50
"""How deeply braces may be nested in a word."""
_VARIABLE_NAME = re.compile(r"\d+|[@*#?\-$!]|[^\W\d]\w*")


class WordError(ValueError):
    """A word that BuildKit could not read either; the text says what is wrong."""


def split_words(text: str, escape: str) -> tuple[list[str], str]:
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


def unquote_word(word: str, escape: str) -> str:
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


def expand_variables(word: str, values: Mapping[str, str], escape: str = "\\") -> str:
    """Return a word with its variables replaced and its quotes and escapes taken away; an unset one is empty.

    Replacements: `$X`, `${X}`, with a default or an alternative (`-`, `+`, `?`, each also after `:`), with a start or
    an end cut off (`#`, `##`, `%`, `%%`), and with a part exchanged (`/`, `//`).

    Raises:
        WordError: a quote or brace is open, or a replacement is of no known kind.
    """
    return _WordReader(word, values, escape).read_until("")


class _WordReader:
    """Reads one word from left to right."""

    def __init__(self, word: str, values: Mapping[str, str], escape: str) -> None:
        self.word, self.values, self.escape, self.position = word, values, escape, 0
        self.depth = 0

    def read_until(self, stop: str, *, raw: bool = False) -> str:
        """Return what stands before a character, expanded, and step over it; nothing means the end.

        With raw, escapes stay in: the text is a pattern.
        """
        out = ""
        while True:
            char = self._next()
            if char == stop:
                return out
            if not char:
                raise WordError(f"{self.word}: {stop} is missing")
            if char == "'":
                out += self._read_single_quoted()
            elif char == '"':
                out += self._read_double_quoted()
            elif char == "$":
                out += self._read_variable()
            elif char == self.escape:
                out += (char if raw else "") + self._next()
            else:
                out += char

    def _next(self) -> str:
        char = self.word[self.position : self.position + 1]
        self.position += 1
        return char

    def _read_single_quoted(self) -> str:
        end = self.word.find("'", self.position)
        if end < 0:
            raise WordError(f"{self.word}: a quote is open")
        text, self.position = self.word[self.position : end], end + 1
        return text

    def _read_double_quoted(self) -> str:
        out = ""
        while (char := self._next()) != '"':
            if not char:
                raise WordError(f"{self.word}: a quote is open")
            if char == "$":
                out += self._read_variable()
            elif char == self.escape:
                following = self._next()
                out += following if following in ('"', "$", self.escape) else char + following
            else:
                out += char
        return out

    def _read_variable(self) -> str:
        braced = self.word.startswith("{", self.position)
        self.position += braced
        if not braced:
            return self._read_plain_variable()
        self.depth += 1
        if self.depth > MAX_BRACE_DEPTH:
            raise WordError(f"{self.word[:MAX_BRACE_DEPTH]}…: more than {MAX_BRACE_DEPTH} nested braces")
        value = self._read_braced_variable()
        self.depth -= 1
        return value

    def _read_plain_variable(self) -> str:
        name = self._read_name()
        return self.values.get(name, "") if name else "$"

    def _read_braced_variable(self) -> str:
        name = self._read_name()
        if not name:
            raise WordError(f"{self.word}: no variable is named in the braces")
        return self._read_replacement(name, self._next())

    def _read_name(self) -> str:
        match = _VARIABLE_NAME.match(self.word, self.position)
        name = match[0] if match else ""
        self.position += len(name)
        return name

    def _read_replacement(self, name: str, operator: str) -> str:
        if operator == "}":
            return self.values.get(name, "")
        if operator in ("#", "%"):
            return self._read_trimmed(self.values.get(name, ""), operator)
        if operator == "/":
            return self._read_substituted(self.values.get(name, ""))
        is_set = bool(self.values.get(name)) if operator == ":" else name in self.values
        operator = self._next() if operator == ":" else operator
        if operator not in ("-", "+", "?") or not operator:
            raise WordError(f"{self.word}: the replacement of {name} has an unknown form")
        other = self.read_until("}")
        if operator == "?" and not is_set:
            raise WordError(f"{name} is not set: {other or 'it has to be'}")
        if operator == "+":
            return other if is_set else ""
        return self.values[name] if is_set else other

    def _read_trimmed(self, value: str, side: str) -> str:
        pattern = self.read_until("}", raw=True)
        longest = pattern.startswith(side)
        regex = re.compile(_glob_to_regex(pattern[longest:]), re.DOTALL)
        lengths = range(len(value) + 1)
        for length in reversed(lengths) if longest else lengths:
            if side == "#" and regex.fullmatch(value, 0, length):
                return value[length:]
            if side == "%" and regex.fullmatch(value, len(value) - length):
                return value[: len(value) - length]
        return value

    def _read_substituted(self, value: str) -> str:
        everywhere = self.word.startswith("/", self.position)
        self.position += everywhere
        regex = re.compile(_glob_to_regex(self.read_until("/", raw=True)), re.DOTALL)
        other = self.read_until("}")
        return regex.sub(lambda _: other, value, count=0 if everywhere else 1)


def _glob_to_regex(text: str) -> str:
    """Return a shell pattern as a regular expression."""
    out, chars = "", iter(text)
    for char in chars:
        if char == "\\":
            out += re.escape(next(chars, "\\"))
        else:
            out += {"*": ".*", "?": "."}.get(char, re.escape(char))
    return out
