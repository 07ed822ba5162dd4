"""Lets a verb take a word that may be left out: `invoke mode` and `invoke mode external`.

Invoke knows only positional arguments that must be given (pyinvoke/invoke#159), and copies collections and parser
contexts, so a subclass of either is lost. Its parser asks a context which positional arguments are still missing, once
for each word and once at the end of the task's words. Here the first question is answered with the optional ones too,
for a word that is neither a flag nor a task's name. Arguments that are not marked `optional` are treated as before, but
for one thing: `invoke new --help` asks for help and does not name a service `--help`.
"""

from __future__ import annotations

import sys

from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext
from invoke.parser.parser import Parser


def allow_optional_words() -> None:
    """Teach Invoke's parser in this process; doing it twice changes nothing."""
    setattr(ParserContext, "missing_positional_args", property(_missing_arguments))  # noqa: B010 - a type checker may not see it


def _missing_arguments(context: ParserContext) -> list[Argument]:
    unset = [arg for arg in context.positional_args if arg.value is None]
    caller = sys._getframe(1)
    parser = caller.f_locals["self"]
    word = caller.f_locals.get("token", "-") if caller.f_code.co_name == "handle" else "-"
    if _asks_for_help(parser, word):
        return []
    if word.startswith("-") or word in parser.contexts:
        return [arg for arg in unset if not arg.optional]
    return unset


def _asks_for_help(parser: Parser, word: str) -> bool:
    """Whether a word is, or one before it was, Invoke's own flag for a task's help."""
    flags = parser.initial.flags if parser.initial else {}
    if "--help" not in flags:
        return False
    return bool(flags["--help"].value) or (word in flags and flags[word] is flags["--help"])
