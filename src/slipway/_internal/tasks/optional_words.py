"""Lets a verb take an optional word: `invoke mode` and `invoke mode external`.

Invoke knows only positional arguments that must be given (pyinvoke/invoke#159). But it asks a task for its arguments
when the command line is known already, so the task answers by it: an optional word that is not there is no positional
argument this time. Whether it is there is told by Invoke's own parser, which is shown the command line without such
arguments, and stops at the first word that is neither a flag's value nor a task's name.

Right after a verb that takes services, the name of one is a word, whatever tasks there are: `invoke test cache`.
"""

from __future__ import annotations

import copy
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Collection as Names
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.exceptions import ParseError
from invoke.main import program
from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext
from invoke.parser.parser import Parser
from invoke.tasks import Task

from slipway._internal.model.workspace_path import workspace_root

SERVICES = "services"
"""The optional word that names services."""
SEPARATOR = "--"
"""What stands before the words of a command that a verb runs (`exec`, `run`)."""


class OptionalWordsTask(Task[Any]):
    """A task whose arguments that are both `positional` and `optional` may be left out; all may for its `--help`."""

    namespace: Callable[[], Collection] = Collection
    """Returns the tasks that the command line may name beside this one."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        arguments = super().get_arguments(ignore_unknown_help)
        _keep_help(arguments)
        if any(argument.positional for argument in arguments):
            namespace, argv = self.namespace(), own_words(sys.argv[1:])
            taken = [token for token in argv if token in namespace and _is_service(workspace_root(), token)]
            words, asks_for_help = count_words(self, namespace, argv, taken)
            _set_positional(arguments, words, required=not asks_for_help)
        return arguments


def own_words(argv: Sequence[str]) -> Sequence[str]:
    """Return the words of a command line that are Invoke's: those before a `--`."""
    return argv[: argv.index(SEPARATOR)] if SEPARATOR in argv else argv


def _is_service(root: Path, name: str) -> bool:
    return (root / "services" / name / "service.toml").is_file()


def count_words(
    task: Task[Any], namespace: Collection, argv: Sequence[str], services: Names[str] = ()
) -> tuple[int, bool]:
    """Return how many words of its own a command line gives a task, and whether it asks for the task's help.

    Args:
        task: one of the namespace.
        namespace: every task whose name is no other task's word; it may be part of a larger one.
        argv: the command line, without the program's name.
        services: the services that are called like a task.
    """
    argv = _hide_services(namespace, argv, services)
    named: dict[str | None, Task[Any]] = {
        token: namespace[name] for token in argv if (name := token.rpartition(".")[2]) and name in namespace
    }
    words: Counter[Task[Any]] = Counter()
    while task in named.values():
        contexts = [ParserContext(name, args=_arguments(found, words[found])) for name, found in named.items()]
        parser = Parser(contexts, initial=program.initial_context, ignore_unknown=True)
        try:
            found = parser.parse_argv([*argv])
        except ParseError:  # as Invoke itself will say
            break
        last = named.get(found[-1].name)
        unknown = found.unparsed[0] if found.unparsed else "-"
        if last is None or unknown.startswith("-") or words[last] == len(list(last.positional)):
            return words[task], named.get(found[0].args["help"].value) == task
        words[last] += 1
    return words[task], False


def _hide_services(namespace: Collection, argv: Sequence[str], services: Names[str]) -> list[str]:
    """Return a command line in which no service that stands right after a verb for services is called like a task."""
    hidden: list[str] = []
    for token in argv:
        verb = hidden[-1].rpartition(".")[2] if hidden else ""
        takes_services = bool(verb) and verb in namespace and SERVICES in namespace[verb].positional
        hidden.append(f"{token}," if token in services and takes_services else token)
    return hidden


def _arguments(task: Task[Any], words: int) -> list[Argument]:
    """Return a task's arguments, of which so many words are given."""
    arguments = Task.get_arguments(copy.deepcopy(task), ignore_unknown_help=True)  # which takes the help out of a task
    _keep_help(arguments)
    _set_positional(arguments, words, required=False)
    return arguments


def _keep_help(arguments: Sequence[Argument]) -> None:
    """Leave `-h` for the help: Invoke gives it to an argument that begins with that letter, which has `-H` here."""
    for argument in arguments:
        argument.names = tuple("H" if name == "h" else name for name in argument.names)


def _set_positional(arguments: Sequence[Argument], words: int, *, required: bool) -> None:
    """Leave positional what the command line gives, and with `required` what it must."""
    for number, argument in enumerate([argument for argument in arguments if argument.positional]):
        argument.positional = number < words or (required and not argument.optional)
