"""What messages and pages tell people to type: verbs and flags that there are, and the stack that they are about."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from invoke.tasks import Task
from tests.conftest import ENGINE, ROOT, TEMPLATE

from slipway._internal.model.stack import how_to_deploy
from slipway.tasks import verbs

VERBS: Mapping[str, Task] = verbs(TEMPLATE).tasks  # type: ignore[type-arg]
OF_INVOKE = {"--list", "--help", "--version"}
CODE = [path for folder in (ENGINE, TEMPLATE / "infra") for path in sorted(folder.rglob("*.py"))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(TEMPLATE.rglob("*.md"))]
QUOTED = re.compile(r"(?<!`)`((?:sudo )?invoke\b[^`]*)`")
TYPED = re.compile(r"(?:[Nn]ext: |\[bold\])(invoke [^\[.]*)")
"""What messages show without backticks."""
LINE = re.compile(r"^\s*(?:\$ )?((?:sudo )?(?:[A-Z_]+=\S+ )?invoke [^#\n]*)", re.MULTILINE)
"""A command in a page's block of commands."""
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
PLACEHOLDER = "…"

OF_NO_STACK = {
    "it is about development": {
        "Everything is there. Next: [bold]invoke up[/]",
        "Adopted. Next: [bold]invoke up[/]",
        "is a …. Next: [bold]invoke up[/]",
        "Run `invoke up` or `invoke build` first: each leaves a record",
    },
    "it is about the verb, in whichever stack": {
        "`invoke dev` does not work on it",
        "`invoke dev` builds",
        "`invoke exec` opens one",
        "`invoke logs` shows",
        "`invoke dev` works with a Docker engine only",
        "made by `invoke dev`",
        "`invoke dev` is at work on",
        "that `invoke dev` could replace",
        "the first `invoke ship` makes a key pair",
        "`invoke ship` downloads it",
        "`invoke up --beside` wrote it",
        "as `invoke releases` names it",
    },
}
"""Messages that name a verb which takes a stack and need not say which."""


def text_of(node: ast.AST) -> str | None:
    """Return a literal's text, with a placeholder for each value of an f-string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or PLACEHOLDER for part in node.values)
    return None


def texts_in(source: str) -> Iterator[tuple[int, str, bool]]:
    """Yield a module's string literals: the line, the text, and whether it is a docstring or another comment."""
    tree = ast.parse(source)
    comments = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)} - {
        id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
    }
    for node in ast.walk(tree):
        text = None if id(node) in parts else text_of(node)
        if text is not None:
            yield node.lineno, text, id(node) in comments  # type: ignore[attr-defined]


def commands_in_page(text: str) -> Iterator[str]:
    """Yield the commands of a page: between backticks, and in its blocks."""
    yield from (found[1] for found in QUOTED.finditer(FENCED.sub("", text)))
    for block in FENCED.finditer(text):
        yield from (found[1] for found in LINE.finditer(block[1]))


def problem_of(command: str) -> str:
    """Return what is wrong with a command line of Invoke; nothing where nothing is.

    Of several commands in one line only the first counts. Square brackets hold what may be left out.
    """
    first = re.split(r" (?:&&|\||;|>|2>) ?|\\$", command)[0]
    words = shlex.split(re.sub(r"[\[\]]", " ", first).replace("'", "").replace('"', ""))
    words = words[words.index("invoke") + 1 :]
    if not words or words[0] in (*OF_INVOKE, "VERB", "update") or PLACEHOLDER in words[0]:
        return ""
    verb = VERBS.get(words[0])
    if verb is None:
        return f"there is no verb {words[0]}"
    known = {name for argument in verb.get_arguments() for name in argument.names}
    own = words[1 : words.index("--")] if "--" in words else words[1:]  # what follows is another program's
    for word in own:
        flag = word.partition("=")[0]
        if flag.startswith("-") and flag not in OF_INVOKE and flag.lstrip("-") not in known:
            return f"{words[0]} has no {flag}"
    return ""


def lacks_its_stack(command: str) -> bool:
    """Say whether the verb takes a stack, and the command names none."""
    words = command.split()
    verb = VERBS.get(words[words.index("invoke") + 1]) if len(words) > 1 else None
    takes = verb is not None and any(argument.name == "stack" for argument in verb.get_arguments())
    return takes and "--stack" not in words


def commands_in(text: str) -> list[str]:
    return [found[1] for found in (*QUOTED.finditer(text), *TYPED.finditer(text))]


def test_messages_name_verbs_and_flags_that_there_are() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}, line {line}: `{command}`: {problem}"
        for path in CODE
        for line, text, _ in texts_in(path.read_text(encoding="utf-8"))
        for command in commands_in(text)
        if (problem := problem_of(command))
    ]
    assert wrong == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_names_verbs_and_flags_that_there_are(path: Path) -> None:
    commands = list(commands_in_page(path.read_text(encoding="utf-8")))
    assert [f"{command}: {problem_of(command)}" for command in commands if problem_of(command)] == []


def test_a_message_names_the_stack_that_it_is_about() -> None:
    excused = {words for some in OF_NO_STACK.values() for words in some}
    used = set()
    without = []
    for path in CODE:
        for line, text, comment in texts_in(path.read_text(encoding="utf-8")):
            if comment or not any(lacks_its_stack(command) for command in commands_in(text)):
                continue
            words = {words for words in excused if words in text}
            used |= words
            rest = text
            for excuse in words:
                rest = rest.replace(excuse, "")
            if any(lacks_its_stack(command) for command in commands_in(rest)):
                without.append(f"{path.relative_to(ROOT)}, line {line}: {text}")
    assert without == []
    assert excused - used == set(), "these messages are no more"


def test_development_is_deployed_by_up_and_every_other_stack_by_its_name() -> None:
    assert how_to_deploy("dev") == "invoke up"
    assert how_to_deploy("prod") == "invoke deploy --stack prod"
    assert not problem_of(how_to_deploy("dev")) and not problem_of(how_to_deploy("prod"))


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("invoke up --stack …", ""),
        ("sudo invoke cluster up", ""),
        ("invoke build [SERVICE…] [--why]", ""),
        ("invoke logs … | head", ""),
        ("invoke new --help", ""),
        ("invoke exec api -- ls --all", ""),
        ("invoke exec api --all -- ls", "exec has no --all"),
        ("invoke sail", "there is no verb sail"),
        ("invoke up --force", "up has no --force"),
        ("invoke ship --stack=prod -x", "ship has no -x"),
    ],
)
def test_what_there_is_not_is_found(command: str, problem: str) -> None:
    assert problem_of(command) == problem


def test_literals_are_read_with_the_values_that_stand_in_them() -> None:
    source = 'def f(x):\n    """`invoke up`."""\n    return f"a `invoke down "  f"--stack {x.name}`", "b"\n'
    assert sorted(texts_in(source)) == [
        (2, "`invoke up`.", True),
        (3, "a `invoke down --stack …`", False),
        (3, "b", False),
    ]
