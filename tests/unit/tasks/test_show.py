"""What a user sees is plain where there is no terminal, and an error always has its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.model.errors import GateRefused
from slipway.tasks import show


def test_an_error_shows_what_is_wrong_its_lines_its_log_and_the_remedy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show.error(GateRefused("api is bad", remedy="Mend it.", detail="one\ntwo", log=Path("/x.log")))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "✘ api is bad"
    assert [line.strip() for line in lines[1:]] == ["│ one", "│ two", "log     /x.log", "remedy  Mend it."]


def test_what_an_error_says_is_never_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show.error(GateRefused("[red]not markup[/] [/nope]", detail="[bold"))
    assert "[red]not markup[/] [/nope]" in capsys.readouterr().err


def test_without_a_terminal_a_report_is_one_line_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    with show.progress("Building") as report:
        report.step("api", "building", "step 1")
        report.step("api", "building", "step 2")
        report.done("api", "built")
    assert capsys.readouterr().out.splitlines() == ["api          building", "api          built"]


def test_without_a_terminal_nobody_consents() -> None:
    assert show.confirm("Really?") is False


def test_a_table_is_plain_and_whole_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    digest = "sha256:" + "a" * 64
    show.table(("service", "image"), [("api", digest)])
    out = capsys.readouterr().out
    assert digest in out
    assert "\x1b" not in out
