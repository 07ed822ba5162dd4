"""Remote sources of `ADD`, and whether they are pinned: the same content has to give the same image.

BuildKit takes a source that begins with http:// or https:// as a file, one that is git's (an address that ends in
.git, git://, ssh://, user@host:path) as a repository. Their content counts in no digest, so it has to be named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from slipway._internal.content.dockerfile_parser import HEREDOC, Instruction
from slipway._internal.content.dockerfile_words import expand_variables, split_words

_ADDRESS = re.compile(r"(?:https?|git|ssh)://", re.IGNORECASE)
_SCP = re.compile(r"[a-zA-Z0-9_-]+@[a-zA-Z0-9.-]+:")
_SCHEMES = ("http://", "https://", "git://", "ssh://")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")


class TrackedVariables(dict[str, str]):
    """Values of variables; it records which unset ones were read."""

    def __init__(self, known: Mapping[str, str]) -> None:
        super().__init__(known)
        self.unknown: list[str] = []

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or self._note_missing(str(name))

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        return self[name] if name in self else default  # noqa: SIM401 - `in` takes note

    def _note_missing(self, name: str) -> bool:
        self.unknown.append(name)
        return False


def find_problems(add: Instruction, variables: Mapping[str, str], escape: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the sources of an `ADD`, each with its remedy.

    Args:
        add: the instruction.
        variables: the variables' values where it stands.
        escape: the Dockerfile's escape character.

    Raises:
        WordError: BuildKit could not read a word either.
    """
    checksum = expand_variables("".join(add.flags.get("checksum", ())[-1:]), variables, escape)
    for word in list_sources(add, escape):
        values = TrackedVariables(variables)
        source = expand_variables(word, values, escape)
        if is_git(source):
            if not (_COMMIT.fullmatch(checksum) or any(_COMMIT.fullmatch(commit) for commit in _named_commits(source))):
                yield (
                    f"ADD {source} names no commit",
                    f"Write {source.partition('#')[0]}#COMMIT with the full hash.",
                )
        elif is_remote(source):
            if not _CHECKSUM.fullmatch(checksum):
                yield (
                    f"ADD {source} has no checksum, so its content may change unnoticed",
                    f"Write ADD --checksum=sha256:… (`curl -L {source} | sha256sum`), or put the file into git.",
                )
        elif values.unknown and _may_begin_an_address(word):
            yield (
                f"ADD {word} may be an address: ${values.unknown[0]} is set by no ARG or ENV here",
                f"Declare it (ARG {values.unknown[0]}=…), or write the source out.",
            )


def is_remote(source: str) -> bool:
    """Whether a source is on another machine."""
    return bool(_ADDRESS.match(source) or _SCP.match(source))


def is_git(source: str) -> bool:
    """Whether a source is a git repository."""
    if source.lower().startswith(("http://", "https://")):
        return urlsplit(source).path.endswith(".git")
    return is_remote(source)


def list_sources(add: Instruction, escape: str) -> list[str]:
    """Return the words of an `ADD` that are sources as they are written; here-documents are none."""
    try:
        words = json.loads(add.rest)
    except (ValueError, RecursionError):
        words = split_words(add.rest, escape)[0]
    found = [str(word) for word in words[:-1]] if isinstance(words, list) else []
    return [word for word in found if not HEREDOC.match(word)]


def parse_env(instruction: Instruction, values: Mapping[str, str], escape: str) -> dict[str, str]:
    """Return the variables that an `ENV` sets."""
    words, _ = split_words(instruction.rest, escape)
    if words and "=" not in words[0]:  # the old form: ENV NAME all the rest
        name, _, rest = instruction.rest.partition(" ")
        return {name: expand_variables(rest.strip(), values, escape)}
    pairs = (word.partition("=") for word in words)
    return {expand_variables(name, values, escape): expand_variables(value, values, escape) for name, _, value in pairs}


def _named_commits(source: str) -> Iterator[str]:
    """Yield what an address names as its commit, where it is in full: #COMMIT:folder, ?commit=…, ?checksum=…"""
    address, _, fragment = source.partition("#")
    yield fragment.partition(":")[0]
    yield from (value for key, value in parse_qsl(address.partition("?")[2]) if key in ("ref", "commit", "checksum"))


def _may_begin_an_address(word: str) -> bool:
    """Whether what a variable holds could make an address of a word: what stands before it is the start of one."""
    before = word.partition("$")[0].strip("\"'").lower()
    return any(scheme.startswith(before) for scheme in _SCHEMES) or bool(re.fullmatch(r"[\w-]+@[\w.-]*", before))
