"""A verb's word may be left out, and does not swallow the next task's name."""

from __future__ import annotations

import pytest
from invoke import Collection, Context, task
from invoke.parser import Argument, ParseError, Parser, ParserContext

from slipway._internal.tasks import optional_words


@task(positional=["mode"], optional=["mode"])
def mode(context: Context, mode: str | None = None, stack: str = "dev") -> None:
    """Take one word, or none."""


@task
def other(context: Context, needed: str) -> None:
    """Take one word that must be given."""


@pytest.fixture(autouse=True)
def parser() -> Parser:
    optional_words.allow_optional_words()
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


@pytest.mark.parametrize("name", ["mode", "other"])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_asked_for_without_the_words_of_the_task(name: str, flag: str) -> None:
    initial = ParserContext(args=[Argument(names=("help", "h"), optional=True)])
    first, second = Parser(contexts=Collection(mode, other).to_contexts(), initial=initial).parse_argv([name, flag])
    assert first.args["help"].value == name
    assert second.args["mode" if name == "mode" else "needed"].value is None
