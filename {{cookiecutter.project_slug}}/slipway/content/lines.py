"""A Dockerfile's text taken apart: continued lines, comments, here-documents, flags, variables."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*\Z")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)\Z")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+?])([^}]*))?\})", re.ASCII)


class BadDockerfile(ValueError):
    """A Dockerfile that BuildKit could not read either; the text says what is wrong."""


@dataclass(frozen=True)
class Instruction:
    """One instruction: its line, its keyword in capitals, its flags (name → values) and what follows them."""

    line: int
    keyword: str
    flags: Mapping[str, tuple[str, ...]]
    rest: str


def directives(text: str) -> dict[str, str]:
    """Return the parser directives at the top: `# syntax=`, `# escape=`, `# check=`."""
    found: dict[str, str] = {}
    for line in text.split("\n"):
        match = _DIRECTIVE.match(line.strip())
        if not match or match.group(1).lower() not in _DIRECTIVES:
            break
        found.setdefault(match.group(1).lower(), match.group(2))
    return found


def instructions(text: str, escape: str) -> Iterator[Instruction]:
    """Yield the instructions in their order; the lines of here-documents belong to the one that opens them.

    Raises:
        BadDockerfile: a here-document has no end.
    """
    continued = re.compile(rf"(?:(?<=[^{re.escape(escape)}])|^){re.escape(escape)}[ \t]*\Z")
    lines = iter(enumerate(text.split("\n"), 1))
    for number, raw in lines:
        line = _without_comment(raw.rstrip("\r").lstrip())
        whole, more = _cut(line, continued)
        while more:
            following = next(lines, None)
            if following is None:
                break
            part = following[1].rstrip("\r")
            if part.lstrip()[:1] not in ("", "#"):
                part, more = _cut(part, continued)
                whole += part
        if not whole.strip():
            continue
        instruction = _instruction(number, whole, escape)
        _skip_heredocs(instruction, lines, escape)
        yield instruction


def nested(instruction: Instruction, escape: str) -> Instruction:
    """Return what an ONBUILD holds, or else the instruction itself."""
    if instruction.keyword == "ONBUILD" and instruction.rest:
        return _instruction(instruction.line, instruction.rest, escape)
    return instruction


def words(text: str, escape: str) -> list[str]:
    """Return the words of a text, split at white space that is neither quoted nor escaped; quotes stay."""
    return _split(text, escape)[0]


def _split(text: str, escape: str) -> tuple[list[str], str]:
    """Return the words of a text, and the quote that is still open at its end."""
    found: list[str] = []
    word, quote, skip = "", "", False
    for char in text:
        if skip:
            word, skip = word + char, False
        elif char == escape and quote != "'":
            word, skip = word + char, True
        elif char.isspace() and not quote:
            found, word = found + [word] * bool(word), ""
        else:
            word += char
            quote = "" if char == quote else quote or (char if char in "\"'" else "")
    return found + [word] * bool(word), quote


def expand(text: str, values: Mapping[str, str], escape: str) -> str:
    """Return a word with its variables replaced and its quotes and escapes taken away; an unset one is empty.

    Raises:
        BadDockerfile: a replacement of another form than `$X`, `${X}`, `${X:-y}`, `${X:+y}`, `${X:?y}`.
    """
    out, at, quote = [], 0, ""
    while at < len(text):
        char = text[at]
        if char == escape and quote != "'" and at + 1 < len(text):
            out.append(text[at + 1])
            at += 2
        elif char in "\"'" and quote in ("", char):
            quote = "" if quote else char
            at += 1
        elif char == "$" and quote != "'":
            value, at = _variable(text, at, values, escape)
            out.append(value)
        else:
            out.append(char)
            at += 1
    return "".join(out)


def mounts(instruction: Instruction) -> list[dict[str, str]]:
    """Return the settings of each `--mount` of a RUN, keys in lower case."""
    found = []
    for text in instruction.flags.get("mount", ()):
        fields = next(csv.reader([text]), [])
        found.append(
            {key.strip().lower(): value for key, _, value in (each.partition("=") for each in fields)}
        )
    return found


def _variable(text: str, at: int, values: Mapping[str, str], escape: str) -> tuple[str, int]:
    match = _VARIABLE.match(text, at)
    if not match:
        if text.startswith("${", at):
            raise BadDockerfile(f"the replacement in {text} is of a kind that is not understood here")
        return "$", at + 1
    name, how, other = match[1] or match[2], match[3] or "", match[4] or ""
    value = values.get(name)
    is_set = bool(value) if ":" in how else value is not None
    if how.endswith("+"):
        value = expand(other, values, escape) if is_set else ""
    elif how.endswith("-") and not is_set:
        value = expand(other, values, escape)
    elif how.endswith("?") and not is_set:
        raise BadDockerfile(f"{name} is not set: {other or 'it has to be'}")
    return value or "", match.end()


def _without_comment(line: str) -> str:
    return "" if line.startswith("#") else line


def _cut(line: str, continued: re.Pattern[str]) -> tuple[str, bool]:
    cut = continued.sub("", line)
    return cut, cut != line


def _instruction(number: int, text: str, escape: str) -> Instruction:
    keyword, *tail = re.split(r"[\t\v\f\r ]+", text.strip(), maxsplit=1)
    rest = tail[0] if tail else ""
    flags: dict[str, tuple[str, ...]] = {}
    while rest.startswith("--"):
        word = words(rest, escape)[0]
        rest = rest[len(word) :].lstrip()
        if word == "--":
            break
        name, _, value = _unquote(word[2:], escape).partition("=")
        flags[name] = (*flags.get(name, ()), value)
    return Instruction(number, keyword.upper(), flags, rest.strip())


def _unquote(word: str, escape: str) -> str:
    """Return a word without its quotes and escapes; variables stay as they are."""
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


def _skip_heredocs(instruction: Instruction, lines: Iterator[tuple[int, str]], escape: str) -> None:
    inner = nested(instruction, escape)
    if inner.keyword not in ("RUN", "COPY", "ADD") or "<<" not in inner.rest or _is_json(inner.rest):
        return
    found, open_quote = _split(inner.rest, "\\")
    for word in [] if open_quote else found:  # BuildKit sees no here-document in a line that it cannot split
        match = _HEREDOC.match(word)
        if not match:
            continue
        end = expand(match[2], {}, "\\")
        for _, line in lines:
            if (line.lstrip("\t") if match[1] else line).rstrip("\r") == end:
                break
        else:
            raise BadDockerfile(f"line {instruction.line}: the here-document {end} has no end")


def _is_json(text: str) -> bool:
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, list) and all(isinstance(each, str) for each in found)
