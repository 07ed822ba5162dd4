"""The bench's rows as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.measure import Row

NOT_RUN = "–"


def table(rows: Sequence[Row]) -> str:
    """Return the rows in columns: what, value, spread, its ratio to Slipway's, limit, whether it held, remark."""
    cells = [(row.what, value(row), spread(row), times(row), limit(row), held(row), row.note) for row in rows]
    widths = [max((len(each[column]) for each in cells), default=0) for column in range(7)]
    lines = []
    for what, *numbers, note in cells:
        middle = "  ".join(text.rjust(width) for text, width in zip(numbers, widths[1:6], strict=True))
        lines.append(f"  {what.ljust(widths[0])}  {middle}  {note}".rstrip())
    return "\n".join(lines)


def facts(machine: Mapping[str, str]) -> str:
    """Return the machine's facts, one in a line."""
    width = max((len(name) for name in machine), default=0)
    return "\n".join(f"  {name.ljust(width)}  {said}" for name, said in machine.items())


def verdict(rows: Sequence[Row]) -> str:
    """Return one sentence: how many limits held, were missed, and were not measured."""
    limited = [row for row in rows if row.limit]
    kept = sum(row.held is True for row in limited)
    missed = sum(row.held is False for row in limited)
    return f"{kept} limits held, {missed} missed, {len(limited) - kept - missed} not measured."


def value(row: Row) -> str:
    return number(row.value, row.unit)


def number(amount: float | None, unit: str) -> str:
    """Return an amount with its unit, as exact as it is read: three digits for small ones."""
    if amount is None:
        return NOT_RUN
    if unit == "":
        return f"{amount:,.0f}"
    digits = 2 if amount < 10 else 1 if amount < 1000 else 0
    return f"{amount:,.{digits}f} {unit}"


def spread(row: Row) -> str:
    """Return the quickest and slowest run, and of how many runs the median is."""
    if row.low is None or row.high is None or row.runs < 2:
        return ""
    return f"{row.low:.2f}–{row.high:.2f} of {row.runs}"


def times(row: Row) -> str:
    return f"{row.times:.2f} × ours" if row.times is not None else ""


def limit(row: Row) -> str:
    return str(row.limit) if row.limit else ""


def held(row: Row) -> str:
    if row.limit is None:
        return ""
    return {True: "held", False: "MISSED", None: "not measured"}[row.held]
