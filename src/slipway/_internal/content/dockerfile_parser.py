"""Parses a Dockerfile's text: continued lines, comments, here-documents, flags."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slipway._internal.content.dockerfile_words import split_words, unquote_word

_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*\Z")
_DIRECTIVES = ("syntax", "escape", "check")
HEREDOC = re.compile(r"\d*<<(-?)([^<]+)\Z")


class DockerfileError(ValueError):
    """A Dockerfile that BuildKit could not read either; the text says what is wrong."""


@dataclass(frozen=True)
class Instruction:
    """One instruction: its line, its keyword in capitals, its flags (name → values) and what follows them."""

    line: int
    keyword: str
    flags: Mapping[str, tuple[str, ...]]
    rest: str


def parse_directives(text: str) -> dict[str, str]:
    """Return the parser directives at the top: `# syntax=`, `# escape=`, `# check=`.

    As for BuildKit, a line `#!…` may stand before them, and a frontend may be named by `// syntax=` or in JSON, too.
    """
    lines = text.split("\n")
    lines = lines[lines[0].startswith("#!") :]
    found = _scan_directives(lines, "#")
    if "syntax" not in found and (syntax := _scan_directives(lines, "//").get("syntax") or _syntax_in_json(text)):
        found["syntax"] = syntax
    return found


def _scan_directives(lines: list[str], comment: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, value = parse_directive(line, comment)
        if not name:
            break
        found.setdefault(name, value)
    return found


def parse_directive(line: str, comment: str = "#") -> tuple[str, str]:
    """Return a parser directive's name, in lower case, and its value; two empty texts for another line."""
    start, mark, rest = line.strip().partition(comment)
    match = _DIRECTIVE.match(rest.strip()) if mark and not start else None
    return (match[1].lower(), match[2]) if match and match[1].lower() in _DIRECTIVES else ("", "")


def _syntax_in_json(text: str) -> str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return str(found.get("syntax") or "") if isinstance(found, dict) else ""


def parse_instructions(text: str, escape: str) -> Iterator[Instruction]:
    """Yield the instructions in their order; the lines of here-documents belong to the one that opens them.

    Raises:
        DockerfileError: a here-document has no end.
    """
    continuation = re.compile(rf"(?:(?<=[^{re.escape(escape)}])|^){re.escape(escape)}[ \t]*\Z")
    lines = iter(enumerate(text.split("\n"), 1))
    for number, raw in lines:
        line = _without_comment(raw.rstrip("\r").lstrip())
        joined, is_continued = _strip_continuation(line, continuation)
        while is_continued:
            following = next(lines, None)
            if following is None:
                break
            part = following[1].rstrip("\r")
            if part.lstrip()[:1] not in ("", "#"):
                part, is_continued = _strip_continuation(part, continuation)
                joined += part
        if not joined.strip():
            continue
        instruction = _parse_instruction(number, joined, escape)
        _skip_heredocs(instruction, lines, escape)
        yield instruction


def unwrap_onbuild(instruction: Instruction, escape: str) -> Instruction:
    """Return what an ONBUILD holds, or else the instruction itself."""
    if instruction.keyword == "ONBUILD" and instruction.rest:
        return _parse_instruction(instruction.line, instruction.rest, escape)
    return instruction


def parse_mounts(instruction: Instruction) -> list[dict[str, str]]:
    """Return the settings of each `--mount` of a RUN, keys in lower case."""
    found = []
    for text in instruction.flags.get("mount", ()):
        fields = next(csv.reader([text]), [])
        found.append({key.strip().lower(): value for key, _, value in (setting.partition("=") for setting in fields)})
    return found


def _without_comment(line: str) -> str:
    return "" if line.startswith("#") else line


def _strip_continuation(line: str, continued: re.Pattern[str]) -> tuple[str, bool]:
    cut = continued.sub("", line)
    return cut, cut != line


def _parse_instruction(number: int, text: str, escape: str) -> Instruction:
    keyword, *tail = re.split(r"[\t\v\f\r ]+", text.strip(), maxsplit=1)
    rest = tail[0] if tail else ""
    flags: dict[str, tuple[str, ...]] = {}
    while rest.startswith("--"):
        word = split_words(rest, escape)[0][0]
        rest = rest[len(word) :].lstrip()
        if word == "--":
            break
        name, _, value = unquote_word(word[2:], escape).partition("=")
        flags[name] = (*flags.get(name, ()), value)
    return Instruction(number, keyword.upper(), flags, rest.strip())


def _skip_heredocs(instruction: Instruction, lines: Iterator[tuple[int, str]], escape: str) -> None:
    inner = unwrap_onbuild(instruction, escape)
    if inner.keyword not in ("RUN", "COPY", "ADD") or "<<" not in inner.rest or _is_json_array(inner.rest):
        return
    found, open_quote = split_words(inner.rest, "\\")
    for word in [] if open_quote else found:  # BuildKit sees no here-document in a line that it cannot split
        match = HEREDOC.match(word)
        if not match:
            continue
        end = unquote_word(match[2], "\\")
        for _, line in lines:
            if (line.lstrip("\t") if match[1] else line).rstrip("\r") == end:
                break
        else:
            raise DockerfileError(f"line {instruction.line}: the here-document {end} has no end")


def _is_json_array(text: str) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, list) and all(isinstance(item, str) for item in found)
