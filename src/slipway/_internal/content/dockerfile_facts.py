"""What a Dockerfile says of the service that it makes: its port, its user, its health check, what it copies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slipway._internal.content import dockerfile_parser
from slipway._internal.content.dockerfile import Dockerfile, Stage
from slipway._internal.content.dockerfile_parser import Instruction
from slipway._internal.content.dockerfile_words import WordError, expand_variables, split_words
from slipway._internal.content.healthcheck import SHELL, Healthcheck

ROOT_USERS = ("", "root", "0")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?\Z")


@dataclass(frozen=True)
class DockerfileFacts:
    """What the stage that is shipped says, with the stages of the same file that it starts from.

    Attributes:
        target: the stage's name; empty for a last stage without one.
        base: what the first of these stages starts from: an image, as it is written.
        ports: the TCP ports of EXPOSE.
        user: the last USER; empty where none is named.
        health: its own health check.
        unset: the arguments of the build that have no default, each with its line.
        copied: what is copied from the build's context, each with its line.
        command: the last CMD or ENTRYPOINT, for a look at what it runs.
        entrypoint, cmd: the words of the last ENTRYPOINT and CMD, as a container gets them.
    """

    target: str
    base: str
    ports: tuple[int, ...] = ()
    user: str = ""
    health: Healthcheck | None = None
    unset: Mapping[str, int] | None = None
    copied: tuple[tuple[str, int], ...] = ()
    command: str = ""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()

    @property
    def is_root(self) -> bool:
        """Whether the container's user is root, as far as the Dockerfile says: a base image may say otherwise."""
        return self.user.partition(":")[0] in ROOT_USERS

    def base_argument(self) -> str:
        """Return the argument that names the base; empty where an image is named."""
        found = _VARIABLE.match(self.base)
        return found[1] if found else ""


def read_facts(dockerfile: Dockerfile, target: str, args: Mapping[str, str]) -> DockerfileFacts:
    """Return what a Dockerfile says of the image of a stage; an empty `target` is the last stage.

    Raises:
        ConfigError: there is no such stage.
    """
    shipped = dockerfile.stage(target)
    chain = _chain(dockerfile, shipped)
    instructions = _instructions_by_stage(dockerfile)
    values = {name: args.get(name, default or "") for name, default in dockerfile.arguments.items()}
    ports: list[int] = []
    user = command = ""
    words: dict[str, tuple[str, ...]] = {}
    for stage in chain:
        for each in instructions[stage.number]:
            if each.keyword in ("ARG", "ENV"):
                values.update(_variables(each, values, dockerfile.escape))
            elif each.keyword == "EXPOSE":
                ports += _ports(each, values, dockerfile.escape)
            elif each.keyword == "USER":
                user = _expand(each.rest.strip(), values, dockerfile.escape)
            elif each.keyword in ("CMD", "ENTRYPOINT"):
                command = f"{command} {each.rest}".strip() if each.keyword == "CMD" else each.rest
                words[each.keyword] = tuple(_json_words(each.rest)) or (*SHELL, each.rest)
    return DockerfileFacts(
        target=shipped.name,
        base=chain[0].base.text,
        ports=tuple(dict.fromkeys(ports)),
        user=user,
        health=dockerfile.health(target),
        unset=dict(_unset_arguments(dockerfile, args)),
        copied=tuple(item for found in instructions for each in found for item in _copied(each)),
        command=command,
        entrypoint=words.get("ENTRYPOINT", ()),
        cmd=words.get("CMD", ()),
    )


def _chain(dockerfile: Dockerfile, stage: Stage) -> list[Stage]:
    """Return a stage and those of the file that it starts from, the first of them first."""
    chain = [stage]
    while True:
        base = chain[0].base.text.lower()
        earlier = [each for each in dockerfile.stages[: chain[0].number] if each.name and each.name.lower() == base]
        if not earlier:
            return chain
        chain.insert(0, earlier[-1])


def _instructions_by_stage(dockerfile: Dockerfile) -> list[list[Instruction]]:
    text = dockerfile.text.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    found: list[list[Instruction]] = []
    for each in dockerfile_parser.parse_instructions(text, dockerfile.escape):
        if each.keyword == "FROM":
            found.append([])
        elif found:
            found[-1].append(each)
    return found


def _unset_arguments(dockerfile: Dockerfile, args: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Yield the arguments without a default that nobody sets, apart from those that BuildKit gives."""
    own = ("TARGET", "BUILD", "http", "https", "ftp", "no_", "all_", "HTTP", "HTTPS", "FTP", "NO_", "ALL_", "SOURCE_")
    defaults = {name for name, default in dockerfile.arguments.items() if default is not None} | {*args}
    text = dockerfile.text.decode("utf-8", "surrogateescape")
    for each in dockerfile_parser.parse_instructions(text.removeprefix("\ufeff"), dockerfile.escape):
        if each.keyword == "ARG":
            for word in split_words(each.rest, dockerfile.escape)[0]:
                name, equals, _ = word.partition("=")
                if not equals and name not in defaults and not name.startswith(own):
                    yield name, each.line


def _variables(each: Instruction, values: Mapping[str, str], escape: str) -> Iterator[tuple[str, str]]:
    words = split_words(each.rest, escape)[0]
    if each.keyword == "ENV" and words and "=" not in words[0]:
        yield words[0], _expand(" ".join(words[1:]), values, escape)
        return
    for word in words:
        name, equals, value = word.partition("=")
        if equals and not (each.keyword == "ARG" and values.get(name)):
            yield name, _expand(value, values, escape)


def _ports(each: Instruction, values: Mapping[str, str], escape: str) -> Iterator[int]:
    for word in split_words(each.rest, escape)[0]:
        port, _, protocol = _expand(word, values, escape).partition("/")
        if protocol.lower() in ("", "tcp") and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
            yield int(port)


def _expand(text: str, values: Mapping[str, str], escape: str) -> str:
    try:
        return expand_variables(text, values, escape)
    except WordError:
        return text


def _copied(each: Instruction) -> Iterator[tuple[str, int]]:
    """Yield what a COPY or ADD takes from the context, without those with variables or patterns."""
    if each.keyword not in ("COPY", "ADD") or each.flags.get("from") or "<<" in each.rest:
        return
    words = _json_words(each.rest) or split_words(each.rest, "\\")[0]
    for word in words[:-1]:
        path = word.strip("\"'").removeprefix("./").strip("/")
        if path and not re.search(r"[$*?\[]|://|\A(?:git@|\.\.?\Z)", path):
            yield path, each.line


def _json_words(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [str(word) for word in found] if isinstance(found, list) else []
