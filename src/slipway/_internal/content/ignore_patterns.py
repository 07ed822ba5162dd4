"""One ignore pattern, read as BuildKit reads it: its syntax, its oddities, and the test for a path.

BuildKit checks a pattern's syntax by the rules of Go's `filepath.Match`, then turns it into a regular
expression of Go's dialect (RE2) by simple replacement. The two disagree at the edges: `[^a]` also matches
`/`, `\\d` is any digit, `[*]` is not a star. Whoever wants to know what BuildKit sends has to follow the
expression, so it is built here the same way and then put into Python's dialect.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from functools import lru_cache

PathTest = Callable[[str], bool]

_PATTERN_TOKENS = re.compile(r"\*\*/?|[*?\[\]]|\\.?|[^*?\[\]\\]+", re.DOTALL)
_REGEX_SPECIAL = re.compile(r"[.+()|{}$]")
_MAX_CODE_POINT = "\U0010ffff"
_NAMED_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
    "^alnum": rf"\x00-/:-@\[-`{{-{_MAX_CODE_POINT}",
    "^alpha": rf"\x00-@\[-`{{-{_MAX_CODE_POINT}",
    "^digit": rf"\x00-/:-{_MAX_CODE_POINT}",
    "^space": rf"\x00-\x08\x0e-\x1f!-{_MAX_CODE_POINT}",
    "^word": rf"\x00-/:-@\[-\^`{{-{_MAX_CODE_POINT}",
}
_PERL_CLASSES = {
    "d": _NAMED_CLASSES["digit"],
    "D": _NAMED_CLASSES["^digit"],
    "w": _NAMED_CLASSES["word"],
    "W": _NAMED_CLASSES["^word"],
    "s": r"\t\n\f\r ",
    "S": rf"\x00-\x08\x0b\x0e-\x1f!-{_MAX_CODE_POINT}",
}
_CONTROL_ESCAPES = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ANCHORS = {"A": r"\A", "z": r"\Z", "b": r"\b", "B": r"\B"}


class PatternError(ValueError):
    """A pattern that BuildKit refuses, or one with an escape that is not understood here, such as `\\pN`."""


def clean_path(path: str) -> str:
    """Return the shortest equal path, as Go's `path.Clean` does: no double, trailing or dot parts."""
    return posixpath.normpath("/" + path.lstrip("/") if path.startswith("/") else path)


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> PathTest:
    """Return the test for one cleaned pattern without its `!`.

    Raises:
        PatternError: the pattern's syntax is wrong; some faults are found only when the test is first used.
    """
    _check_syntax(pattern)
    kind, expression = _to_go_regex(pattern)
    if kind == "exact":
        return pattern.__eq__
    if kind == "prefix":
        return lambda path, start=pattern[:-2]: path.startswith(start)  # type: ignore[misc]
    if kind == "suffix":
        return _suffix_test(pattern[2:])
    return _regex_test(expression)


def _suffix_test(end: str) -> PathTest:
    """`**/x` is x itself, too; `**x` is whatever ends in x."""
    alone = end[1:] if end.startswith("/") else None
    return lambda path: path.endswith(end) or path == alone


def _regex_test(expression: str) -> PathTest:
    """Translated at first use: BuildKit, too, finds a wrong expression only when it comes to need it."""
    found: Callable[[str], object] | None = None

    def test(path: str) -> bool:
        nonlocal found
        if found is None:
            found = re.compile(_to_python_regex(expression), re.ASCII).match
        return found(path) is not None

    return test


def _check_syntax(pattern: str) -> None:
    """Refuse what Go's `filepath.Match` refuses when it holds the pattern against ".": BuildKit's check.

    It reads no further than the first part, between stars, that "." does not fit.
    """
    left, rest = 1, pattern
    while rest:
        part = rest.lstrip("*")
        starred = part != rest
        end = _next_star(part)
        part, rest = part[:end], part[end:]
        if starred and not part:
            return
        fits = _chars_fit_dot(part)
        left -= len(fits)
        if left < 0 or not all(fits) or (left and not rest):
            return


def _next_star(pattern: str) -> int:
    """Return where the next star outside brackets stands, or the end."""
    at, within = 0, False
    while at < len(pattern):
        char = pattern[at]
        if char == "*" and not within:
            break
        within = char == "[" or (within and char != "]")
        at += 2 if char == "\\" else 1
    return at


def _chars_fit_dot(pattern: str) -> list[bool]:
    """Return, for each character that the pattern asks for, whether a dot would do."""
    fits, at = [], 0
    while at < len(pattern):
        if pattern[at] == "[":
            fit, at = _class_fits_dot(pattern, at + 1)
        else:
            wild = pattern[at] == "?"
            char, at = _read_char(pattern, at)
            fit = wild or char == "."
        fits.append(fit)
    return fits


def _read_char(pattern: str, at: int) -> tuple[str, int]:
    at += pattern[at] == "\\"
    if at >= len(pattern):
        raise PatternError(f"{pattern}: a backslash stands at the end, with nothing to escape")
    return pattern[at], at + 1


def _class_fits_dot(pattern: str, at: int) -> tuple[bool, int]:
    negated = pattern.startswith("^", at)
    at += negated
    first, inside = at, False
    while at == first or not pattern.startswith("]", at):
        low, at = _read_class_bound(pattern, at)
        high, at = _read_class_bound(pattern, at + 1) if pattern.startswith("-", at) else (low, at)
        inside = inside or low <= "." <= high
    return inside != negated, at + 1


def _read_class_bound(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at : at + 1] in ("", "-", "]"):
        raise PatternError(f"{pattern}: the class in brackets is open, empty or holds half a range")
    char, at = _read_char(pattern, at)
    if at >= len(pattern) or "\udc80" <= char <= "\udcff":
        raise PatternError(f"{pattern}: the class in brackets is not closed, or not UTF-8")
    return char, at


def _to_go_regex(pattern: str) -> tuple[str, str]:
    """Return how BuildKit tests a pattern (exact, prefix, suffix, regex) and its expression as Go has it."""
    kind, parts = "exact", ["^"]
    for token in _PATTERN_TOKENS.finditer(pattern):
        text, last = token.group(), token.end() == len(pattern)
        if text.startswith("**"):
            kind = "prefix" if last and kind == "exact" else "regex"
            parts.append(".*" if last else "(.*/)?")
            if token.start() == 0:
                kind = "suffix"
        elif text in ("*", "?", "[", "]") or text.startswith("\\"):
            kind = "regex"
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(text, text))
        else:
            parts.append(_REGEX_SPECIAL.sub(r"\\\g<0>", text))
    return kind, "".join(parts) + "$"


def _to_python_regex(expression: str) -> str:
    """Return an expression of Go's dialect in Python's, as far as `_to_go_regex` can make one."""
    out, at = [], 0
    while at < len(expression):
        char = expression[at]
        if char == "[":
            text, at = _translate_class(expression, at + 1)
        elif char == "\\":
            text, at = _translate_escape(expression, at + 1, within_class=False)
        else:
            text, at = (
                {"^": r"\A", "$": r"\Z"}.get(char, char if char in "().*?" else re.escape(char)),
                at + 1,
            )
        out.append(text)
    return "".join(out)


def _translate_escape(expression: str, at: int, *, within_class: bool) -> tuple[str, int]:
    char = expression[at : at + 1]
    if char in _PERL_CLASSES and char:
        return (_PERL_CLASSES[char] if within_class else f"[{_PERL_CLASSES[char]}]"), at + 1
    if char in _ANCHORS and char and not within_class:
        return _ANCHORS[char], at + 1
    literal, after = _read_literal(expression, at - 1)
    return re.escape(literal), after


def _read_literal(expression: str, at: int) -> tuple[str, int]:
    """Return the one character that stands at this place, plain or escaped, and where the next begins."""
    char = expression[at : at + 1]
    if not char:
        raise PatternError(f"{expression}: a class in brackets is not closed")
    if char != "\\":
        return char, at + 1
    char = expression[at + 1 : at + 2]
    if char in _CONTROL_ESCAPES and char:
        return _CONTROL_ESCAPES[char], at + 2
    if char and char.isascii() and not char.isalnum():
        return char, at + 2
    raise PatternError(f"the escape \\{char} is not understood; write the character without the backslash")


def _translate_class(expression: str, at: int) -> tuple[str, int]:
    out = ["["]
    if expression.startswith("^", at):
        out, at = ["[^"], at + 1
    first = at
    while at == first or not expression.startswith("]", at):
        text, at = _translate_class_item(expression, at)
        out.append(text)
    return "".join(out) + "]", at + 1


def _translate_class_item(expression: str, at: int) -> tuple[str, int]:
    if named := re.compile(r"\[:(.*?):\]", re.DOTALL).match(expression, at):
        if named.group(1) not in _NAMED_CLASSES:
            raise PatternError(f"the class {named.group()} is not understood; write its characters")
        return _NAMED_CLASSES[named.group(1)], named.end()
    if expression.startswith("\\", at) and expression[at + 1 : at + 2] in _PERL_CLASSES:
        return _translate_escape(expression, at + 1, within_class=True)
    low, at = _read_literal(expression, at)
    if expression.startswith("-", at) and not expression.startswith("]", at + 1):
        high, at = _read_literal(expression, at + 1)
        if high < low:
            raise PatternError(f"the range {low}-{high} runs backwards")
        return f"{re.escape(low)}-{re.escape(high)}", at
    return re.escape(low), at
