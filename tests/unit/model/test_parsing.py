"""Whatever a text holds, the outcome is plain data within bounds, or one error that says what is wrong."""

from __future__ import annotations

import pytest

from slipway._internal.model import parsing
from slipway._internal.model.parsing import ParseError, parse_json, parse_toml, parse_yaml

DEEP = 3000
DIGITS = "9" * 5000
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{name}: &{name} {{{', '.join(f'k{number}: *{before}' for number in range(40))}}}\n"
    for before, name in zip("abcd", "bcde", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        f"a = {DIGITS}",
        f"a = 1{'0' * 30}",
        f"a = {'[' * DEEP}{']' * DEEP}",
        f"{'.'.join('a' * 900)} = 1",
        "a = 2026-99-99",
        "a = 2026-01-01T25:99:99",
        "a = nan",
        "a = [-inf]",
        'a = "\\u0000"',
        'a = "\\ud800"',
        "a = 1\na = 2",
        "a = 1\x00",
        "[a\n",
        "= 1",
    ],
)
def test_toml_that_is_none_or_beyond_measure_is_unreadable(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_toml(text)
    assert str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"a: {DIGITS}",
        f"a: {'[' * DEEP}{']' * DEEP}",
        "\n".join(f"{' ' * level}a:" for level in range(300)),
        f"{'- ' * DEEP}a",
        BOMB,
        MERGES,
        "a: &a [*a]",
        "a: &a {b: *a}",
        "a: *nothing",
        "a: 1\na: 2",
        "a: .nan",
        "a: .inf",
        'a: "\\0"',
        "a: \x00",
        "a: !!int ''",
        "a: !!bool maybe",
        "a: !!timestamp never",
        "a: !!float x",
        "a: !!binary \xff",
        "a: !!python/object/apply:os.system [id]",
        "? [a]\n: b",
        "%YAML 9.9\n---\na: b",
        "a: b\n---\nc: d",
        "a: =",
        "\t",
        "a: b: c",
    ],
)
def test_yaml_that_is_none_or_beyond_measure_is_unreadable(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_yaml(text)
    assert str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: 2026-99-99", "a: 2026-12-31", "a: 2026-12-31T99:99:99Z"])
def test_a_date_in_yaml_stays_the_text_that_it_is_for_pulumi(text: str) -> None:
    assert parse_yaml(text) == {"a": text.removeprefix("a: ")}


def test_anchors_within_measure_are_read() -> None:
    text = "base: &base {x: 1, y: 2}\na: {<<: *base, x: 3}\nb: *base\n"
    assert parse_yaml(text) == {"base": {"x": 1, "y": 2}, "a": {"x": 3, "y": 2}, "b": {"x": 1, "y": 2}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1",
        b"NaN",
        b"[Infinity]",
        b'"\\ud800"',
        b'"\xff"',
        b"\x00",
        DIGITS.encode() + b"e",
        b"[" * 100_000,
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b"{} {}",
    ],
)
def test_json_that_is_none_or_beyond_measure_is_unreadable(data: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        parse_json(data)
    assert str(caught.value) and "\n" not in str(caught.value)


def test_json_of_another_type_is_unreadable() -> None:
    for data in (b"null", b"[1]", b'"x"', b'{"a": "x"}', b'{"a": 1.5}', b'{"a": ' + DIGITS.encode() + b"}"):
        with pytest.raises(ParseError):
            parse_json(data, dict[str, int])


def test_a_key_that_stands_twice_is_refused_where_the_text_decides() -> None:
    twice = b'{"a": {"b": 1, "b": 2}}'
    assert parse_json(twice) == {"a": {"b": 2}}
    with pytest.raises(ParseError, match="`b` appears twice"):
        parse_json(twice, unique=True)


def test_json_says_the_line(  # the byte that msgspec names is of no use to a reader
) -> None:
    with pytest.raises(ParseError) as caught:
        parse_json(b'{\n "a": 1,\n "b": }\n')
    assert caught.value.line == 3


@pytest.mark.parametrize(("text", "number"), [("8080", True), ("²", False), ("٣", False), ("-1", False), ("", False)])
def test_a_number_is_one_that_python_reads(text: str, number: bool) -> None:
    assert parsing.is_number(text) is number


def test_a_number_of_more_digits_than_any_setting_has_is_none() -> None:
    assert not parsing.is_number(DIGITS)
