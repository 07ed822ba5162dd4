"""What `ADD` takes from other machines, and whether it is pinned: the same content has to give the same image.

BuildKit takes a source that begins with http:// or https:// as a file, one that is git's (an address that ends in
.git, git://, ssh://, user@host:path) as a repository. Their content counts in no digest, so it has to be named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from slipway.content.lines import HEREDOC, Instruction
from slipway.content.words import expand, split

_ADDRESS = re.compile(r"(?:https?|git|ssh)://", re.IGNORECASE)
_SCP = re.compile(r"[a-zA-Z0-9_-]+@[a-zA-Z0-9.-]+:")
_SCHEMES = ("http://", "https://", "git://", "ssh://")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")


class Values(dict[str, str]):
    """Variables' values, which remembers those that were asked for in vain."""

    def __init__(self, known: Mapping[str, str]) -> None:
        super().__init__(known)
        self.unknown: list[str] = []

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or self._missed(str(name))

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        return self[name] if name in self else default  # noqa: SIM401 - `in` takes note

    def _missed(self, name: str) -> bool:
        self.unknown.append(name)
        return False


def problems(add: Instruction, known: Mapping[str, str], escape: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the sources of an `ADD`, each with its remedy.

    Args:
        add: the instruction.
        known: the variables' values where it stands.
        escape: the Dockerfile's escape character.

    Raises:
        BadWord: BuildKit could not read a word either.
    """
    checksum = expand("".join(add.flags.get("checksum", ())[-1:]), known, escape)
    for word in sources(add, escape):
        values = Values(known)
        source = expand(word, values, escape)
        if is_git(source):
            if not (_COMMIT.fullmatch(checksum) or any(_COMMIT.fullmatch(each) for each in _commits(source))):
                yield (
                    f"ADD {source} names no commit",
                    f"Write {source.partition('#')[0]}#COMMIT with all of its digits.",
                )
        elif is_remote(source):
            if not _CHECKSUM.fullmatch(checksum):
                yield (
                    f"ADD {source} has no checksum, so what it gives may change and nobody would notice",
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


def sources(add: Instruction, escape: str) -> list[str]:
    """Return the words of an `ADD` that are sources as they are written; here-documents are none."""
    try:
        words = json.loads(add.rest)
    except (ValueError, RecursionError):
        words = split(add.rest, escape)[0]
    found = [str(each) for each in words[:-1]] if isinstance(words, list) else []
    return [each for each in found if not HEREDOC.match(each)]


def set_by(instruction: Instruction, values: Mapping[str, str], escape: str) -> dict[str, str]:
    """Return the variables that an `ENV` sets."""
    words, _ = split(instruction.rest, escape)
    if words and "=" not in words[0]:  # the old form: ENV NAME all the rest
        name, _, rest = instruction.rest.partition(" ")
        return {name: expand(rest.strip(), values, escape)}
    pairs = (word.partition("=") for word in words)
    return {expand(name, values, escape): expand(value, values, escape) for name, _, value in pairs}


def _commits(source: str) -> Iterator[str]:
    """Yield what an address names as its commit, where it is in full: #COMMIT:folder, ?commit=…, ?checksum=…"""
    address, _, fragment = source.partition("#")
    yield fragment.partition(":")[0]
    yield from (value for key, value in parse_qsl(address.partition("?")[2]) if key in ("ref", "commit", "checksum"))


def _may_begin_an_address(word: str) -> bool:
    """Whether what a variable holds could make an address of a word: what stands before it is the start of one."""
    before = word.partition("$")[0].strip("\"'").lower()
    return any(scheme.startswith(before) for scheme in _SCHEMES) or bool(re.fullmatch(r"[\w-]+@[\w.-]*", before))
