"""What a user sees is plain where there is no terminal, and an error always has its remedy."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

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
    for name, coloured in (("NO_COLOR", False), ("UNSET", True)):
        with monkeypatch.context() as patch:
            patch.delenv("NO_COLOR", raising=False)
            patch.setenv(name, "1")
            patch.setenv("TERM", "xterm")
            show.TerminalDevConsole(["api"], Console(force_terminal=True)).log("api", "said")
            assert ("\x1b[3" in capsys.readouterr().out) is coloured


@pytest.mark.parametrize(("answer", "agreed"), [("y", True), (" YES ", True), ("", False), ("no", False)])
def test_only_a_plain_yes_in_a_terminal_is_consent(monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _question: answer)
    assert show.consent(yes=False)("Really?") is agreed


def test_a_terminal_that_ends_its_input_gives_no_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_question: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", end)
    assert show.confirm("Really?") is False


def test_an_error_is_said_with_its_remedy_before_the_workspaces_python_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.text", None)
    show.error(GateRefused("api is bad", remedy="Mend it."))
    assert capsys.readouterr().err == "✘ api is bad\n  remedy  Mend it.\n"


def test_what_is_said_beside_the_result_leaves_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    show.warn("[red]disk is full[/]")
    show.note("[yellow]an override[/]")
    show.plain_note("[red]as it is[/]")
    out, err = capsys.readouterr()
    assert out == "" and err == "! [red]disk is full[/]\nan override\n[red]as it is[/]\n"


def test_what_takes_long_shows_its_newest_line_where_nothing_moves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(show.time, "monotonic", lambda: now[0])
    reporter = show.PlainReporter()
    for moment, detail in ((100.0, "line 1"), (119.0, "line 2"), (121.0, "line 3"), (122.0, "line 4"), (160.0, "")):
        now[0] = moment
        reporter.step("api", "building", detail)
    reporter.failed("api", "failed")
    assert capsys.readouterr().out.splitlines() == [
        "api          building",
        "api          building: line 3",
        "api          failed",
    ]


def test_a_dev_session_shows_errors_with_their_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with show.dev_console(["api"]) as voice:
        voice.show_error(GateRefused("api is bad", remedy="Mend it."))
    err = capsys.readouterr().err
    assert "✘ api is bad" in err and "Mend it." in err


def test_in_a_terminal_each_service_keeps_a_line_with_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80, color_system=None, legacy_windows=False)
    monkeypatch.setattr(show, "console", lambda: terminal)
    with show.progress("Building") as report:
        assert isinstance(report, show.LiveReporter)
        report.step("api", "building", "[red]step 1[/]")
        report.step("web", "waiting")
        report.say("[bold]one note[/]")
        report.done("api", "built")
        report.failed("web", "failed")
        report.step("worker", "building", "\x1b[2Jstep 2")
    frames = screen.getvalue()
    (api,) = {line.rstrip() for line in frames.splitlines() if "✔ api" in line}
    assert "built" in api and api.endswith(" s")
    assert re.search(r"✘ web +failed", frames) and re.search(r"worker +building +step 2", frames)
    assert "[bold]one note[/]" in frames
