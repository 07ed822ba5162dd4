"""Words and their variables are read as BuildKit reads them."""

from __future__ import annotations

import pytest

from slipway._internal.content.dockerfile_words import WordError, expand_variables, split_words, unquote_word

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
    assert expand_variables(word, VALUES) == expected


@pytest.mark.parametrize(
    "word", ["'a", '"a', "${A", "${}", "${:-x}", "${A!x}", "${A:=x}", "${A:#x}", "${NONE:?say so}", "${V/.}"]
)
def test_what_buildkit_cannot_read_is_refused(word: str) -> None:
    with pytest.raises(WordError):
        expand_variables(word, VALUES)


def test_the_reason_for_a_missing_value_is_the_writers_own() -> None:
    with pytest.raises(WordError, match="NONE is not set: say so"):
        expand_variables("${NONE:?say so}", VALUES)


def test_another_escape_may_be_chosen() -> None:
    assert expand_variables(r"a\b`$A", VALUES, "`") == r"a\b$A"


def test_words_are_split_outside_quotes() -> None:
    assert split_words(r"""a 'b c' d"e f"g h\ i""", "\\") == (["a", "'b c'", 'd"e f"g', r"h\ i"], "")
    assert split_words("a 'b", "\\") == (["a", "'b"], "'")


def test_quotes_and_escapes_go_and_variables_stay() -> None:
    assert unquote_word(r"""a="b $C"\ d""", "\\") == "a=b $C d"
