"""When a job runs: five fields as cron has them, or a word such as @daily; what Kubernetes takes, and no more."""

from __future__ import annotations

import re

from slipway._internal.model.parsing import is_number

MACROS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    ("day of the week", 0, 6, {name: number for number, name in enumerate(_DAYS)}),
)
_PART = re.compile(r"(?:[*?]|(?P<begin>\w+)(?:-(?P<end>\w+))?)(?:/(?P<step>[1-9][0-9]{0,3}))?")


def schedule_problem(schedule: str) -> str:
    """Return what is wrong with a schedule, or nothing (github.com/robfig/cron, which Kubernetes reads it with)."""
    if schedule.startswith("@"):
        return "" if schedule in MACROS else f"{schedule!r} is not a schedule keyword"
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        return f"it has {len(fields)} fields instead of {len(_FIELDS)}"
    for text, (name, least, most, words) in zip(fields, _FIELDS, strict=True):
        if not all(_is_valid_part(part, least, most, words) for part in text.split(",")):
            return f"{text!r} is not a valid {name}, which goes from {least} to {most}"
    return ""


def _is_valid_part(part: str, least: int, most: int, words: dict[str, int]) -> bool:
    found = _PART.fullmatch(part)
    if not found:
        return False
    bounds = [bound for bound in (found["begin"], found["end"]) if bound is not None]
    numbers = [words.get(bound.lower(), int(bound) if is_number(bound) else -1) for bound in bounds]
    return all(least <= number <= most for number in numbers) and numbers == sorted(numbers)
