"""A verb's word may be left out, and does not swallow the next task's name."""

from __future__ import annotations

import pytest
from invoke import Collection, Context, task
from invoke.parser import ParseError, Parser

from slipway.tasks import words


@task(positional=["mode"], optional=["mode"])
def mode(context: Context, mode: str | None = None, stack: str = "dev") -> None:
    """Take one word, or none."""


@task
def other(context: Context, needed: str) -> None:
    """Take one word that must be given."""


@pytest.fixture(autouse=True)
def parser() -> Parser:
    words.allow()
    return Parser(contexts=Collection(mode, other).to_contexts())


def test_the_word_may_be_left_out(parser: Parser) -> None:
    (found,) = parser.parse_argv(["mode"])
    assert found.args["mode"].value is None


def test_the_word_is_taken_with_flags_around_it(parser: Parser) -> None:
    (found,) = parser.parse_argv(["mode", "external", "--stack", "prod"])
    assert found.args["mode"].value == "external"
    assert found.args["stack"].value == "prod"


def test_the_next_tasks_name_is_not_taken_for_the_word(parser: Parser) -> None:
    first, second = parser.parse_argv(["mode", "other", "x"])
    assert first.args["mode"].value is None
    assert second.args["needed"].value == "x"


def test_a_word_that_must_be_given_still_must_be(parser: Parser) -> None:
    with pytest.raises(ParseError, match="needed"):
        parser.parse_argv(["other"])


def test_a_second_word_is_refused(parser: Parser) -> None:
    with pytest.raises(ParseError, match="No idea what 'more' is"):
        parser.parse_argv(["mode", "external", "more"])
