"""What a user sees is plain where there is no terminal, and an error always has its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model.errors import GateRefused
from slipway._internal.tasks import show


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


def test_with_standard_input_closed_nobody_consents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert show.confirm("Really?") is False


def test_a_table_is_plain_and_whole_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    digest = "sha256:" + "a" * 64
    show.table(("service", "image"), [("api", digest)])
    out = capsys.readouterr().out
    assert digest in out
    assert "\x1b" not in out


def test_digests_are_short_in_a_terminal_and_whole_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"shop/api@sha256:{'a1' * 32} is built"
    assert show.short_digests(text) == text
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert show.short_digests(text) == f"shop/api@sha256:{'a1' * 6} is built"


def test_each_service_has_a_colour_of_its_own_and_the_same_each_time() -> None:
    names = ["web", "api", "worker"]
    assert show.assign_colours(names) == show.assign_colours(reversed(names))
    assert len(set(show.assign_colours(names).values())) == 3
    assert len(show.assign_colours(f"s{number}" for number in range(20))) == 20


def test_without_a_terminal_logs_have_their_services_name_and_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    with show.dev_console(["api", "worker"]) as voice:
        voice.log("api", "\x1b[32mgreen\x1b[0m [bold]not markup[/]")
        voice.say("api  1.6 s  [build]")
    assert capsys.readouterr().out.splitlines() == ["api    │ green [bold]not markup[/]", "api  1.6 s  [build]"]


def test_no_color_is_respected_in_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    for name, coloured in (("NO_COLOR", False), ("UNSET", True)):
        with monkeypatch.context() as patch:
            patch.delenv("NO_COLOR", raising=False)
            patch.setenv(name, "1")
            patch.setenv("TERM", "xterm")
            show.TerminalDevConsole(["api"], Console(force_terminal=True)).log("api", "said")
            assert ("\x1b[3" in capsys.readouterr().out) is coloured
