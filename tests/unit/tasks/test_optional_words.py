"""A verb's word may be left out, and does not swallow the next task's name."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from invoke import Collection, Context, task
from invoke.main import program
from invoke.parser import ParseError, Parser, ParseResult
from tests.conftest import TEMPLATE

from slipway._internal.tasks.optional_words import OptionalWordsTask, count_words
from slipway.tasks import verbs

Parse = Callable[[str], ParseResult]


@task(klass=OptionalWordsTask, positional=["mode"], optional=["mode"], help={"mode": "Which one."})
def mode(context: Context, mode: str | None = None, stack: str = "dev", dry: bool = False) -> None:
    """Take one word, or none."""


@task(klass=OptionalWordsTask)
def other(context: Context, needed: str) -> None:
    """Take one word that must be given."""


@task(klass=OptionalWordsTask, positional=["services"], optional=["services"])
def build(context: Context, services: str | None = None, dry: bool = False) -> None:
    """Take services, or none."""


@task
def teams_own(context: Context) -> None:
    """Take nothing."""


@pytest.fixture
def namespace() -> Collection:
    tasks = copy.deepcopy([mode, other, build])  # as Invoke does: a task gives its help away once
    collection = Collection(*tasks)
    for one in tasks:
        one.namespace = lambda: collection
    collection.add_task(teams_own)
    return collection


@pytest.fixture
def parse(namespace: Collection, monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Parse a command line as Invoke does; the first result is Invoke's own flags."""

    def parsed(line: str) -> ParseResult:
        monkeypatch.setattr(sys, "argv", ["invoke", *line.split()])
        core = Parser(initial=program.initial_context, ignore_unknown=True).parse_argv(line.split())
        return Parser(namespace.to_contexts(), initial=program.initial_context).parse_argv(core.unparsed)

    return parsed


@pytest.mark.parametrize("line", ["mode", "mode --stack prod", "--echo mode --dry", "-c tasks mode -s prod"])
def test_the_word_may_be_left_out(parse: Parse, line: str) -> None:
    _, found = parse(line)
    assert found.args["mode"].value is None


@pytest.mark.parametrize(
    "line",
    [
        "mode external --stack prod",
        "mode --stack prod external",
        "mode --stack=prod --dry external",
        "mode -sprod external",
        "mode -ds prod external",
        "--hide out mode --stack prod external",
        "mode external --hide out --stack prod",
        "mode --mode external --stack prod",
    ],
)
def test_the_word_is_taken_with_flags_around_it(parse: Parse, line: str) -> None:
    _, found = parse(line)
    assert (found.args["mode"].value, found.args["stack"].value) == ("external", "prod")


def test_the_next_tasks_name_is_not_taken_for_the_word(parse: Parse) -> None:
    _, first, second, third = parse("mode other x teams-own")
    assert first.args["mode"].value is None
    assert second.args["needed"].value == "x"
    assert third.name == "teams-own"


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace whose services are called like tasks."""
    (tmp_path / "workspace.toml").touch()
    for name in ("build", "mode", "teams-own"):
        folder = tmp_path / "services" / name
        folder.mkdir(parents=True)
        (folder / "service.toml").touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("name", ["build", "mode", "teams-own", "mode,build"])
@pytest.mark.parametrize("flag", ["", " --dry"])
def test_right_after_a_verb_for_services_a_services_name_is_no_task(parse: Parse, name: str, flag: str) -> None:
    _, found = parse(f"build {name}{flag}")
    assert (found.name, found.args["services"].value) == ("build", name)


@pytest.mark.usefixtures("services")
def test_elsewhere_a_services_name_is_a_task(parse: Parse) -> None:
    _, *found = parse("teams-own build --dry mode")
    assert [each.name for each in found] == ["teams-own", "build", "mode"]
    assert found[1].args["services"].value is None


@pytest.mark.usefixtures("services")
def test_help_of_two_verbs_is_theirs(parse: Parse) -> None:
    core, *found = parse("build build --help")
    assert core.args["help"].value == found[-1].name == "build"


def test_without_such_a_service_a_tasks_name_is_a_task(parse: Parse) -> None:
    _, *found = parse("build mode")
    assert [each.name for each in found] == ["build", "mode"]


def test_a_task_that_a_team_has_added_is_not_taken_for_the_word_either(parse: Parse) -> None:
    _, first, second = parse("mode teams-own")
    assert (first.args["mode"].value, second.name) == (None, "teams-own")


def test_each_task_of_a_line_takes_its_own_word(parse: Parse) -> None:
    _, first, second, third = parse("mode inline other x mode external")
    assert [first.args["mode"].value, second.args["needed"].value, third.args["mode"].value] == [
        "inline",
        "x",
        "external",
    ]


def test_a_word_that_must_be_given_still_must_be(parse: Parse) -> None:
    with pytest.raises(ParseError, match="needed"):
        parse("other")


def test_a_word_that_must_be_given_may_be_a_tasks_name(parse: Parse) -> None:
    _, found = parse("other mode")
    assert (found.name, found.args["needed"].value) == ("other", "mode")


def test_a_second_word_is_refused(parse: Parse) -> None:
    with pytest.raises(ParseError, match="No idea what 'more' is"):
        parse("mode external more")


def test_what_comes_after_two_dashes_is_no_word(parse: Parse) -> None:
    _, found = parse("mode -- external")
    assert found.args["mode"].value is None


@pytest.mark.parametrize("line", ["mode", "other", "mode external", "other x", "teams-own mode"])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_asked_for_without_the_words_of_the_task(parse: Parse, line: str, flag: str) -> None:
    core, *found = parse(f"{line} {flag}")
    assert core.args["help"].value == found[-1].name


@pytest.mark.parametrize("rest", [["--", "mode", "", "--dry"], ["--", "--", ""]])
def test_words_of_another_command_are_not_looked_at(
    namespace: Collection, monkeypatch: pytest.MonkeyPatch, rest: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["invoke", "mode", "inline", *rest])
    arguments = {argument.name: argument for argument in namespace["mode"].get_arguments()}
    assert arguments["mode"].positional


def test_an_empty_word_is_no_task(namespace: Collection) -> None:
    assert count_words(namespace["other"], namespace, ["other", ""]) == (1, False)


def test_help_still_tells_of_the_word(parse: Parse) -> None:
    _, found = parse("mode external")
    assert found.help_for("--mode") == ("-m [STRING], --mode[=STRING]", "Which one.")


def test_the_word_is_taken_where_the_verbs_are_part_of_a_larger_collection(
    namespace: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["invoke", "ship.mode", "external"])
    outer = Collection()
    outer.add_collection(namespace, name="ship")
    (found,) = Parser(outer.to_contexts()).parse_argv(["ship.mode", "external"])
    assert found.args["mode"].value == "external"


def test_a_flag_that_may_be_repeated_takes_whole_texts_and_the_help_keeps_its_letter() -> None:
    """Invoke makes of a default that is a tuple one of a text's letters."""
    for name, found in verbs(TEMPLATE).tasks.items():
        for argument in found.get_arguments():
            assert argument.kind is not tuple, f"invoke {name} --{argument.name}"
            assert "h" not in argument.names, f"invoke {name} --{argument.name}"
    names = {argument.name: argument.names for argument in verbs(TEMPLATE).tasks["routes"].get_arguments()}
    assert names["header"] == ("header", "H")
