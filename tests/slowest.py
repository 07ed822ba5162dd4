"""A pytest plugin: prints a session's slowest tests, each with the first line of what it says that its time buys.

That is the first line of the test's docstring, or of its module's where the test has none.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from typing import Any

import pytest

SHOWN = 10
SECONDS = 1.0
"""A test that is done sooner is not slow."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give a test's report the line; from a process of pytest-xdist it comes along."""
    report = yield
    vars(report)["buys"] = what_it_buys(item)
    return report


def what_it_buys(item: pytest.Item) -> str:
    """Return the first line of a test's docstring, or of its module's."""
    for thing in (getattr(item, "function", None), getattr(item, "module", None)):
        words = inspect.getdoc(thing) if thing is not None else None
        if words:
            return words.splitlines()[0]
    return "Nobody wrote down what it buys."


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the tests that took longest, with their setup and teardown."""
    seconds: dict[str, float] = {}
    buys: dict[str, str] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid] = seconds.get(report.nodeid, 0) + report.duration
                buys[report.nodeid] = vars(report).get("buys", "")
    slow = [name for name in sorted(seconds, key=seconds.__getitem__, reverse=True) if seconds[name] >= SECONDS]
    if slow:
        terminalreporter.write_sep(
            "=", f"slowest {len(slow[:SHOWN])} tests, with the setup that each was the first to need"
        )
        for name in slow[:SHOWN]:
            terminalreporter.write_line(f"{seconds[name]:7.1f} s  {name}\n           {buys[name]}")
