"""docs/benchmarks.md, written from results.json: a figure is in the documentation only when the bench printed it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from bench.measure import Row
from bench.results import Results
from bench.table import held, limit, spread, times, value, verdict

HEAD = """\
# Benchmarks

<!-- Written by `./run bench` from bench/results.json. Change bench/, not this page. -->

`./run bench` makes the trees, installs those rivals that package registries have, runs them beside
Slipway, and writes this page. Rivals take turns in one run, because a machine's speed drifts. A
figure is the median, with its spread beside it. Seconds are of this machine: compare the ratios.

`./run bench nothing cold` measures two of the figures again; `./run bench --list` names them all.

![Seconds of Slipway and its rivals](bench.svg)
"""

WIDTH = 100


def page(results: Results, titles: Mapping[str, tuple[str, str]]) -> str:
    """Return the page's text.

    Args:
        results: what was printed.
        titles: each figure's title and what to know about it, in the page's order.
    """
    parts = [HEAD, f"{verdict(results.rows)}\n", machine(results.machine)]
    for name, (title, about) in titles.items():
        rows = [row for row in results.rows if row.figure == name]
        day = (results.days or {}).get(name)
        parts.append(f"## {title}\n\n{textwrap.fill(about, WIDTH, break_on_hyphens=False)}\n")
        if rows:
            parts.append(f"{lines(rows)}\n\nMeasured on {day}.\n")
        else:
            parts.append("Not measured on this machine.\n")
    return "\n".join(parts)


def machine(facts: Mapping[str, str]) -> str:
    """Return the machine's facts as a table."""
    body = "\n".join(f"| {name} | {cell(said)} |" for name, said in facts.items())
    return f"## The machine\n\n| | |\n| --- | --- |\n{body}\n"


def lines(rows: Sequence[Row]) -> str:
    """Return rows as a table; columns that all of them leave empty are left out."""
    columns = {
        "what": [row.what for row in rows],
        "median": [value(row) for row in rows],
        "from–to": [spread(row) for row in rows],
        "to Slipway's": [times(row).removesuffix(" ours") for row in rows],
        "limit": [limit(row) for row in rows],
        "": [held(row).lower() for row in rows],
        "remark": [row.note for row in rows],
    }
    kept = {name: cells for name, cells in columns.items() if any(cells)}
    head = f"| {' | '.join(kept)} |\n| {' | '.join('---' for _ in kept)} |"
    body = "\n".join(f"| {' | '.join(map(cell, each))} |" for each in zip(*kept.values(), strict=True))
    return f"{head}\n{body}"


def cell(text: str) -> str:
    """Return text that cannot end a table's cell."""
    return text.replace("|", "\\|").replace("\n", " ")
