"""Decides which files of a context `.dockerignore` excludes, exactly as BuildKit does."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from slipway._internal.content.context_paths import read_inside
from slipway._internal.content.ignore_patterns import PathTest, PatternError, clean_path, compile_pattern
from slipway._internal.model.errors import ConfigError

FILE_NAME = ".dockerignore"
MAX_LINE_BYTES = 64 * 1024
# What Go calls white space; Python's own idea of it is wider.
_GO_WHITESPACE = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
_GLOB_CHARACTER = re.compile(r"[*\[\]?^\\]")


@dataclass(frozen=True)
class DockerignoreRule:
    """One line of an ignore file: its clean pattern, whether it is an exception (`!`), its test and place."""

    pattern: str
    exception: bool
    test: PathTest = field(compare=False)
    location: str = field(default="", compare=False)

    def matches(self, path: str) -> bool:
        """Say whether the pattern is the path's.

        Raises:
            ConfigError: the pattern is wrong: BuildKit would refuse the build.
        """
        try:
            return self.test(path)
        except PatternError as error:
            raise pattern_error(self.location, error) from error

    @cached_property
    def folder(self) -> str:
        """The folder that the pattern speaks of: the pattern without `/**` or `/*` at its end."""
        return self.pattern.removesuffix("/**").removesuffix("/*")


MatchState = tuple[bool, ...]
"""Which rules a folder matched; what lies in it is judged from there."""


@dataclass(frozen=True)
class Dockerignore:
    """The rules of one ignore file, in its order; the last one that speaks about a path decides."""

    rules: tuple[DockerignoreRule, ...] = ()

    def evaluate(self, path: str, parent: MatchState = ()) -> tuple[bool, MatchState]:
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
        return self._exceptions_have_globs or any(
            f"{rule.folder}/".startswith(f"{folder}/") for rule in self._exceptions
        )

    @cached_property
    def _exceptions(self) -> tuple[DockerignoreRule, ...]:
        return tuple(rule for rule in self.rules if rule.exception)

    @cached_property
    def _exceptions_have_globs(self) -> bool:
        return any(_GLOB_CHARACTER.search(rule.folder) for rule in self._exceptions)


def load_dockerignore(context: Path, dockerfile: Path | None = None) -> Dockerignore:
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
        own_name = f"{dockerfile.name}{FILE_NAME}"
        text = read_inside(dockerfile.parent, own_name)
        if text is not None:
            return parse(text, dockerfile.parent / own_name)
    text = read_inside(context, FILE_NAME)
    return parse(text, context / FILE_NAME) if text else Dockerignore()


def parse(text: bytes, file: Path) -> Dockerignore:
    """Return the rules in an ignore file's text.

    Raises:
        ConfigError: a pattern is wrong: BuildKit would refuse the build.
    """
    rules = []
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines, 1):
        if len(line) >= MAX_LINE_BYTES:
            raise ConfigError(f"{file}, line {number}: longer than the 64 KiB that BuildKit reads")
        try:
            rule = _parse_rule(line.removesuffix(b"\r").decode("utf-8", "surrogateescape"), f"{file}, line {number}")
        except PatternError as error:
            raise pattern_error(f"{file}, line {number}", error) from error
        if rule:
            rules.append(rule)
    return Dockerignore(tuple(rules))


def pattern_error(location: str, error: PatternError) -> ConfigError:
    """Return the error for a pattern that BuildKit would refuse."""
    return ConfigError(f"{location}: {error}", remedy="Correct the pattern; BuildKit would refuse it, too.")


def _parse_rule(line: str, location: str) -> DockerignoreRule | None:
    if line.startswith("#"):
        return None
    pattern = line.strip(_GO_WHITESPACE)
    if not pattern:
        return None
    exception = pattern.startswith("!")
    pattern = pattern[exception:].strip(_GO_WHITESPACE)
    if pattern:
        pattern = clean_path(pattern)
        pattern = pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern
    # BuildKit trims and cleans once more with the `!` in its place, so `!/` is nothing and `!../../x` is
    # plain x.
    pattern = ("!" if exception else "") + pattern
    pattern = pattern.strip(_GO_WHITESPACE)
    if not pattern:
        return None
    pattern = clean_path(pattern)
    if pattern == "!":
        raise PatternError("a lone ! has no pattern")
    exception = pattern.startswith("!")
    pattern = pattern[exception:]
    return DockerignoreRule(pattern, exception, compile_pattern(pattern), location)
