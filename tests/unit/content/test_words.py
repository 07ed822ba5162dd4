"""Words and their variables are read as BuildKit reads them."""

from __future__ import annotations

import pytest

from slipway.content.words import BadWord, expand, split, unquote

VALUES = {"A": "one", "EMPTY": "", "V": "x.y.z", "Ä": "umlaut"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("plain", "plain"),
        ("$A-$A", "one-one"),
        ("${A}b", "oneb"),
        ("$NONE", ""),
        ("$", "$"),
        ("$.", "$."),
        ("$Ä", "umlaut"),
        ("$1a", "a"),
        ("'$A'", "$A"),
        ('"$A b"', "one b"),
        (r"\$A", "$A"),
        (r'"\x\""', '\\x"'),
        (r"\x", "x"),
        ("${A:-b}", "one"),
        ("${EMPTY:-b}", "b"),
        ("${EMPTY-b}", ""),
        ("${NONE-b}", "b"),
        ("${NONE:-${A}}", "one"),
        ("${NONE:-'}'}", "}"),
        ("${A:+b}", "b"),
        ("${EMPTY:+b}", ""),
        ("${EMPTY+b}", "b"),
        ("${A:?no}", "one"),
        ("${V#*.}", "y.z"),
        ("${V##*.}", "z"),
        ("${V%.*}", "x.y"),
        ("${V%%.*}", "x"),
        ("${V%q}", "x.y.z"),
        (r"${V%\.z}", "x.y"),
        ("${V/./-}", "x-y.z"),
        ("${V//./-}", "x-y-z"),
        ("${V/?.y/$A}", "one.z"),
    ],
)
def test_a_word_is_expanded(word: str, expected: str) -> None:
    assert expand(word, VALUES) == expected


@pytest.mark.parametrize(
    "word", ["'a", '"a', "${A", "${}", "${:-x}", "${A!x}", "${A:=x}", "${A:#x}", "${NONE:?say so}", "${V/.}"]
)
def test_what_buildkit_cannot_read_is_refused(word: str) -> None:
    with pytest.raises(BadWord):
        expand(word, VALUES)


def test_the_reason_for_a_missing_value_is_the_writers_own() -> None:
    with pytest.raises(BadWord, match="NONE is not set: say so"):
        expand("${NONE:?say so}", VALUES)


def test_another_escape_may_be_chosen() -> None:
    assert expand(r"a\b`$A", VALUES, "`") == r"a\b$A"


def test_words_are_split_outside_quotes() -> None:
    assert split(r"""a 'b c' d"e f"g h\ i""", "\\") == (["a", "'b c'", 'd"e f"g', r"h\ i"], "")
    assert split("a 'b", "\\") == (["a", "'b"], "'")


def test_quotes_and_escapes_go_and_variables_stay() -> None:
    assert unquote(r"""a="b $C"\ d""", "\\") == "a=b $C d"
