"""Nothing that a program prints moves, clears, recolours or floods the terminal that it is shown in."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway._internal.model import masking
from slipway._internal.model.terminal_text import (
    MAX_LINE_CHARACTERS,
    MAX_LINES,
    sanitize,
    sanitize_line,
    sanitize_lines,
)

HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1bcreset", "reset"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;bad", ""),
        ("\x1bPq#0\x1b\\after", "after"),
        ("\x9b2Jafter", "after"),
        ("\x9d0;title\x9cafter", "after"),
        ("\x1b(Bline\x1b#8", "line"),
        ("10 %\r50 %\r100 %", "100 %"),
        ("done\r", "done"),
        ("bell\x07 and back\x08space", "bell and backspace"),
        ("a\tb", "a       b"),
        ("\u202egnp.exe", "gnp.exe"),
        ("caf\udce9", "caf"),
        ("é 船 [bold]", "é 船 [bold]"),
        ("\x1b", ""),
        ("\x1b[", ""),
    ],
)
def test_what_would_do_something_to_a_terminal_is_left_out(line: str, shown: str) -> None:
    assert sanitize_line(line) == shown


def test_secrets_are_struck_out_before_a_line_is_cut_and_whatever_parts_their_letters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(masking, "_masked_forms", ("tops3cret", "one\ntwo"))
    assert sanitize_line("the tops\x1b[31m3cret") == "the ***"
    assert sanitize_line("x" * (MAX_LINE_CHARACTERS - 4) + "tops3cret") == "x" * (MAX_LINE_CHARACTERS - 4) + "***"
    assert sanitize_lines("a one\ntwo b") == ["a *** b"]


def test_of_a_long_line_only_the_start_is_shown() -> None:
    assert sanitize_line("x" * 150_000) == f"{'x' * MAX_LINE_CHARACTERS}… (150,000 letters)"
    assert sanitize_line("x" * 150_000, None) == "x" * 150_000


def test_of_very_many_lines_the_first_and_the_last_are_shown() -> None:
    found = sanitize_lines("\n".join(map(str, range(1_000_000))))
    assert len(found) == MAX_LINES + 1
    assert (found[0], found[-1]) == ("0", "999999")
    assert "… (999,800 lines more)" in found
    assert sanitize_lines("one\ntwo\n") == ["one", "two"]
    assert sanitize_lines("") == []


@given(
    st.text(st.characters(), max_size=60)
    | st.text(st.sampled_from("\x1b[]();0?mJ\x07\x9b\x9c\\\r\nPX^_ab"), max_size=40)
)
def test_whatever_is_printed_nothing_harmful_is_left(text: str) -> None:
    assert not HARMFUL.search(sanitize(text))
    assert not any(HARMFUL.search(line) for line in sanitize_lines(text))
