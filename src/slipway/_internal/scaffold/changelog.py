"""The entries that a template's CHANGELOG.md gained between two commits."""

from __future__ import annotations

from collections.abc import Iterator

LINES = 40
"""Lines of a changelog that are shown."""
_ITEMS = ("- ", "* ")


def new_entries(old: str, new: str) -> list[str]:
    """Return what a changelog has gained below its versions' headings, line by line.

    An item that was only moved, as from `unreleased` to a version, or wrapped anew, is no news.
    """
    known = {_words(item) for item in _items(old)}
    found: list[str] = []
    headings: list[str] = []
    printed = 0
    for item in _items(new):
        if level := _level(item[0]):
            headings = [heading for heading in headings if _level(heading) < level]
            printed = min(printed, len(headings))
            headings.append(item[0])
        elif _words(item) not in known and any(_level(heading) > 1 for heading in headings):
            found += [*(heading for heading in headings[printed:] if _level(heading) > 1), *item]
            printed = len(headings)
    return found


def shorten_lines(lines: list[str]) -> list[str]:
    """Return as many lines as a reader takes in, and how many more there are."""
    if len(lines) <= LINES:
        return lines
    return [*lines[:LINES], f"… and {len(lines) - LINES} lines more in the template's CHANGELOG.md"]


def _items(text: str) -> Iterator[list[str]]:
    """Yield each heading, list item and paragraph with its lines."""
    item: list[str] = []
    for line in [*text.splitlines(), ""]:
        if item and (not line.strip() or _level(line) or _level(item[0]) or line.startswith(_ITEMS)):
            yield item
            item = []
        if line.strip():
            item.append(line.rstrip())


def _words(item: list[str]) -> str:
    return " ".join(" ".join(item).split())


def _level(line: str) -> int:
    """Return how deep a heading is; 0 where a line is none."""
    marks = len(line) - len(line.lstrip("#"))
    return marks if line[marks : marks + 1] == " " else 0
