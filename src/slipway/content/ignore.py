"""Which files of a context `.dockerignore` keeps from BuildKit, read and judged as BuildKit does it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from slipway.content.paths import read_inside
from slipway.content.patterns import BadPattern, Test, clean, matcher
from slipway.model.errors import ConfigError

NAME = ".dockerignore"
LONGEST_LINE = 64 * 1024
# What Go calls white space; Python's own idea of it is wider.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
_GLOB = re.compile(r"[*\[\]?^\\]")


@dataclass(frozen=True)
class Rule:
    """One line of an ignore file: its clean pattern, whether it is an exception (`!`), its test and place."""

    pattern: str
    exception: bool
    test: Test = field(compare=False)
    place: str = field(default="", compare=False)

    def matches(self, path: str) -> bool:
        """Say whether the pattern is the path's.

        Raises:
            ConfigError: the pattern is wrong: BuildKit would refuse the build.
        """
        try:
            return self.test(path)
        except BadPattern as error:
            raise refused(self.place, error) from error

    @cached_property
    def folder(self) -> str:
        """The folder that the pattern speaks of: the pattern without `/**` or `/*` at its end."""
        return self.pattern.removesuffix("/**").removesuffix("/*")


State = tuple[bool, ...]
"""Which rules a folder matched; what lies in it is judged from there."""


@dataclass(frozen=True)
class Ignore:
    """The rules of one ignore file, in its order; the last one that speaks about a path decides."""

    rules: tuple[Rule, ...] = ()

    def judge(self, path: str, parent: State = ()) -> tuple[bool, State]:
        """Say whether a path is left out, and the state to judge a folder's own entries from.

        A rule that matched the parent folder matches all below it. A rule is not even tried while it could
        not change the verdict, and then counts as not matched for what lies below: BuildKit's shortcut, and
        visible.

        Args:
            path: relative to the context, with `/` between its parts.
            parent: the state that judging the parent folder gave; nothing at the context's root.
        """
        out = False
        state = [False] * len(self.rules)
        for number, rule in enumerate(self.rules):
            if (parent and parent[number]) or (rule.exception == out and rule.matches(path)):
                state[number] = True
                out = not rule.exception
        return out, tuple(state)

    def may_hold_exceptions(self, folder: str) -> bool:
        """Say whether anything below a folder that is left out could be taken back in by an exception."""
        return self._globs or any(f"{rule.folder}/".startswith(f"{folder}/") for rule in self._exceptions)

    @cached_property
    def _exceptions(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.exception)

    @cached_property
    def _globs(self) -> bool:
        return any(_GLOB.search(rule.folder) for rule in self._exceptions)


def of_context(context: Path, dockerfile: Path | None = None) -> Ignore:
    """Return the rules that hold for a context.

    Beside the Dockerfile, `<its name>.dockerignore` comes first, for the main context only; a named context
    has none but the `.dockerignore` in its own root. An ignore file that is a link is followed as BuildKit
    does it: within the context, never out of it.

    Args:
        context: the context's root.
        dockerfile: the Dockerfile, where context is the main one.

    Raises:
        ConfigError: a pattern is wrong, or the file cannot be read.
    """
    if dockerfile is not None:
        own = f"{dockerfile.name}{NAME}"
        text = read_inside(dockerfile.parent, own)
        if text is not None:
            return parse(text, dockerfile.parent / own)
    text = read_inside(context, NAME)
    return parse(text, context / NAME) if text else Ignore()


def parse(text: bytes, file: Path) -> Ignore:
    """Return the rules in an ignore file's text.

    Raises:
        ConfigError: a pattern is wrong: BuildKit would refuse the build.
    """
    rules = []
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines, 1):
        if len(line) >= LONGEST_LINE:
            raise ConfigError(f"{file}, line {number}: longer than the 64 KiB that BuildKit reads")
        try:
            rule = _rule(line.removesuffix(b"\r").decode("utf-8", "surrogateescape"), f"{file}, line {number}")
        except BadPattern as error:
            raise refused(f"{file}, line {number}", error) from error
        if rule:
            rules.append(rule)
    return Ignore(tuple(rules))


def refused(place: str, error: BadPattern) -> ConfigError:
    """Return the error for a pattern that BuildKit would refuse."""
    return ConfigError(f"{place}: {error}", remedy="Correct the pattern; BuildKit would refuse it, too.")


def _rule(line: str, place: str) -> Rule | None:
    if line.startswith("#"):
        return None
    pattern = line.strip(_SPACE)
    if not pattern:
        return None
    exception = pattern.startswith("!")
    pattern = pattern[exception:].strip(_SPACE)
    if pattern:
        pattern = clean(pattern)
        pattern = pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern
    # BuildKit trims and cleans once more with the `!` in its place, so `!/` is nothing and `!../../x` is
    # plain x.
    pattern = ("!" if exception else "") + pattern
    pattern = pattern.strip(_SPACE)
    if not pattern:
        return None
    pattern = clean(pattern)
    if pattern == "!":
        raise BadPattern("a lone ! takes nothing back in")
    exception = pattern.startswith("!")
    pattern = pattern[exception:]
    return Rule(pattern, exception, matcher(pattern), place)
