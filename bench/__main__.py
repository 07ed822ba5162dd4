"""`./run bench [FIGURE… --quick --list --page]`: measures, prints, writes results.json, the chart and the page."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from bench import machine, table
from bench.chart import chart
from bench.figures import NAMES, figure, titles
from bench.ground import Bench, opened
from bench.measure import Row
from bench.page import page
from bench.process import Failed
from bench.results import Results, read, write
from bench.trees import ROOT

RESULTS = ROOT / "bench" / "results.json"
CHART, PAGE = ROOT / "docs" / "bench.svg", ROOT / "docs" / "benchmarks.md"


def main(arguments: Sequence[str]) -> None:
    """Measure the chosen figures, or all; those that were not chosen keep what an earlier run printed."""
    chosen = options(arguments)
    if chosen.list:
        for name, (title, _about) in titles().items():
            print(f"{name:11} {title}")
        return
    if not chosen.page:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        measure(chosen.figures or NAMES, chosen.quick)
    results = read(RESULTS)
    CHART.write_text(chart(results.rows), encoding="utf-8")
    PAGE.write_text(page(results, titles()), encoding="utf-8")
    print(f"Wrote {CHART.relative_to(ROOT)} and {PAGE.relative_to(ROOT)} from {RESULTS.relative_to(ROOT)}.")


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for; ends with status 2 for a figure that there is not."""
    parser = argparse.ArgumentParser(prog="./run bench --")
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(NAMES)}; all without one")
    parser.add_argument("--quick", action="store_true", help="fewer runs: to see that it works, not for the docs")
    parser.add_argument("--list", action="store_true", help="say what each figure is, and measure nothing")
    parser.add_argument("--page", action="store_true", help="only write the chart and the page anew from results.json")
    found = parser.parse_args(arguments)
    unknown = [name for name in found.figures if name not in NAMES]
    if unknown:
        parser.error(f"there is no figure {', '.join(unknown)}")
    return found


def measure(names: Sequence[str], quick: bool) -> None:
    """Measure figures, print them, and put them into results.json as they come."""
    began = time.monotonic()
    rows: list[Row] = []
    with opened(quick) as bench:
        facts = machine.facts()
        for name in (each for each in NAMES if each in names):
            print(f"{name}: {figure(name).TITLE}", flush=True)
            found = list(measured(bench, name))
            print(table.table(found), flush=True)
            rows += found
            write(RESULTS, Results(facts, tuple(found), quick))
    print()
    print(table.facts(facts))
    print()
    print(table.table(rows))
    print(f"\n{table.verdict(rows)} {time.monotonic() - began:.0f} s in all.")


def measured(bench: Bench, name: str) -> list[Row]:
    """Return a figure's rows; where what it needs could not be made, those that it has and one that says why."""
    rows: list[Row] = []
    try:
        for row in figure(name).rows(bench):
            rows.append(row)
    except Failed as error:
        print(error, file=sys.stderr)
        rows.append(Row(name, "could not go on", note=error.short))
    return rows


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("Stopped. What it had started is gone.")
