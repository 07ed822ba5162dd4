"""An SVG of the comparisons: bars of seconds, Slipway's and its rivals', readable on light and on dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from bench.measure import Row
from bench.table import number

WIDTH, LABEL, END = 900, 370, 150
BAR, STEP, GAP, HEAD, MARGIN = 16, 26, 22, 26, 20
OURS = "Slipway"
STYLE = """\
  :root { --ground: #ffffff; --ink: #1b2733; --soft: #5b6b7a; --bar: #a9b8c6; --ours: #0b7285; --limit: #b42318; }
  @media (prefers-color-scheme: dark) {
    :root { --ground: #0f1720; --ink: #e6edf3; --soft: #93a4b3; --bar: #46586a; --ours: #3bc9db; --limit: #ff8a7a; }
  }
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--ink); }
  .head { font-weight: 600; }
  .value { font-variant-numeric: tabular-nums; }
  .soft { fill: var(--soft); }
  .ground { fill: var(--ground); }
  .bar { fill: var(--bar); }
  .ours { fill: var(--ours); }
  .limit { stroke: var(--limit); stroke-width: 2; }"""


@dataclass(frozen=True)
class Group:
    """One comparison: Slipway's row, and those whose seconds are told in times of it."""

    ours: Row
    others: tuple[Row, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        return (self.ours, *self.others)


def chart(rows: Sequence[Row]) -> str:
    """Return the SVG of all comparisons among the rows; one that holds a sentence where there is none."""
    found = list(groups(rows))
    parts: list[str] = []
    top = MARGIN
    for group in found:
        parts += drawn(group, top)
        top += HEAD + STEP * len(group.rows) + GAP
    if not found:
        parts, top = [f'<text x="{MARGIN}" y="{MARGIN + 14}">Nothing has been measured yet.</text>'], top + HEAD
    parts.append(legend(top))
    height = top + MARGIN
    body = "\n".join(f"  {part}" for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="Seconds of Slipway and its rivals, from docs/benchmarks.md">\n'
        f'<style>\n{STYLE}\n</style>\n<rect class="ground" width="{WIDTH}" height="{height}" rx="8"/>\n{body}\n</svg>\n'
    )


def groups(rows: Iterable[Row]) -> Iterable[Group]:
    """Yield the comparisons in seconds that have somebody to compare with."""
    ours: Row | None = None
    others: list[Row] = []
    for row in (each for each in rows if each.unit == "s"):
        if row.times is None and row.what.startswith(OURS):
            if ours and others:
                yield Group(ours, tuple(others))
            ours, others = row, []
        elif ours and row.figure == ours.figure and row.times is not None:
            others.append(row)
    if ours and others:
        yield Group(ours, tuple(others))


def drawn(group: Group, top: int) -> list[str]:
    """Return the elements of one comparison, on a scale of its own."""
    most = max([row.value or 0 for row in group.rows] + [group.ours.limit.value if group.ours.limit else 0])
    room = WIDTH - LABEL - END - MARGIN
    limit_at = room * group.ours.limit.value / most if group.ours.limit and most else 0.0
    head = group.ours.what.partition(": ")[2]
    parts = [f'<text class="head" x="{MARGIN}" y="{top + 14}">{escape(head)}</text>']
    for place, row in enumerate(group.rows):
        y = top + HEAD + place * STEP
        length = max(2.0, room * (row.value or 0) / most) if most else 2.0
        mine = row is group.ours
        name = OURS if mine else shortened(row.what)
        told = number(row.value, row.unit) + ("" if mine or row.times is None else f"  ({row.times:.1f} ×)")
        parts.append(f'<text x="{LABEL - 10}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        kind = "ours" if mine else "bar"
        parts.append(f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3"/>')
        beside = max(length, limit_at) if mine else length
        parts.append(f'<text class="value" x="{LABEL + beside + 8:.1f}" y="{y + 13}">{escape(told)}</text>')
    if limit_at:
        x = LABEL + limit_at
        y = top + HEAD
        parts.append(f'<line class="limit" x1="{x:.1f}" y1="{y - 4}" x2="{x:.1f}" y2="{y + BAR + 4}"/>')
    return parts


def shortened(what: str) -> str:
    """Return a row's words as the place beside its bar has room for them."""
    return what if len(what) <= 50 else f"{what[:49]}…"


def legend(top: int) -> str:
    text = "Medians of whole processes, taken in turn in one run; shorter is better. The line is Slipway's own limit."
    return f'<text class="soft" x="{MARGIN}" y="{top + 4}">{escape(text)}</text>'
