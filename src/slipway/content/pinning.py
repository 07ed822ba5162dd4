"""Refuses what is not pinned in a Dockerfile (images, what `ADD` fetches, the frontend): it may change unnoticed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from slipway.content import remote
from slipway.content.dockerfile import (
    Dockerfile,
    Stage,
    earlier_stage,
    expanded,
    familiar,
    images,
    reach,
    values_of_each_platform,
)
from slipway.content.lines import Instruction
from slipway.content.words import BadWord, expand, split
from slipway.model.errors import ConfigError

FRONTEND = "BUILDKIT_SYNTAX"
_PINNED = re.compile(r"@sha256:[0-9a-f]{64}\Z")


def check(
    dockerfile: Dockerfile,
    target: str = "",
    *,
    args: Mapping[str, str] | None = None,
    contexts: Collection[str] = (),
    platforms: Collection[str] = (),
) -> None:
    """Make sure that a stage exists, and that all it takes from elsewhere is pinned; arguments as for `images`.

    Raises:
        ConfigError: the stage is unknown, or something is not pinned.
    """
    _check_frontend(dockerfile, args or {})
    for name, reference in images(dockerfile, target, args=args, contexts=contexts, platforms=platforms).items():
        if not _PINNED.search(name):
            raise ConfigError(
                f"{dockerfile.path}, line {reference.line}: {reference.how} {name} is not pinned by digest",
                remedy=f"Write {name}@sha256:…, or start from a base: `ARG PYTHON_RUN` above, "
                "then `FROM ${PYTHON_RUN}`.",
            )
    for values in values_of_each_platform(dockerfile, target, args or {}, platforms):
        for stage, _ in reach(dockerfile, target, values, {familiar(name) for name in contexts}):
            _check_added(dockerfile, stage, values, args or {})


def _check_frontend(dockerfile: Dockerfile, args: Mapping[str, str]) -> None:
    """Refuse a frontend that is not pinned: it decides what becomes of the Dockerfile."""
    for where, named in (
        (f"{dockerfile.path}: the line `syntax={dockerfile.syntax}`", dockerfile.syntax),
        (f"{dockerfile.path}: the argument {FRONTEND}={args.get(FRONTEND)}", args.get(FRONTEND, "")),
    ):
        image = named.split(" ")[0]
        if image and not _PINNED.search(image):
            raise ConfigError(
                f"{where} names a frontend that is not pinned by digest",
                remedy=f"Take it out (the builder brings a frontend), or write {image}@sha256:…",
            )


def _check_added(dockerfile: Dockerfile, stage: Stage, values: Mapping[str, str], args: Mapping[str, str]) -> None:
    """Refuse an `ADD` of a stage that takes something from elsewhere which is not pinned."""
    if not any(step.keyword == "ADD" for step in stage.steps):
        return
    for step, known in _walked(dockerfile, stage, values, args):
        found = None
        if step.keyword == "ADD":
            with _explained(dockerfile, step):
                found = next(remote.problems(step, known, dockerfile.escape), None)
        if found:
            raise ConfigError(f"{dockerfile.path}, line {step.line}: {found[0]}", remedy=found[1])


def _walked(
    dockerfile: Dockerfile, stage: Stage, values: Mapping[str, str], args: Mapping[str, str]
) -> Iterator[tuple[Instruction, dict[str, str]]]:
    """Yield the instructions of a stage, each with the variables that are set where it stands."""
    arguments: dict[str, str] = {}
    environment = _inherited(dockerfile, stage, values, args)
    for step in stage.steps:
        known = {**arguments, **environment}
        yield step, known
        with _explained(dockerfile, step):
            if step.keyword == "ENV":
                environment |= remote.set_by(step, known, dockerfile.escape)
            elif step.keyword == "ARG":
                for word in split(step.rest, dockerfile.escape)[0]:
                    name, equals, default = word.partition("=")
                    if name in args or (not equals and name in values):
                        arguments[name] = args.get(name, values.get(name, ""))
                    elif equals:
                        arguments[name] = expand(default, {**arguments, **environment}, dockerfile.escape)


def _inherited(
    dockerfile: Dockerfile, stage: Stage, values: Mapping[str, str], args: Mapping[str, str]
) -> dict[str, str]:
    """Return what the stage that one starts from leaves set by ENV; nobody looks into a base image."""
    name = expanded(dockerfile, stage.base.text, values, stage.base)
    base = earlier_stage(dockerfile, name, stage, stage.base)
    if base is None:
        return {}
    environment = _inherited(dockerfile, base, values, args)
    for step, known in _walked(dockerfile, base, values, args):
        if step.keyword == "ENV":
            with _explained(dockerfile, step):
                environment |= remote.set_by(step, known, dockerfile.escape)
    return environment


@contextmanager
def _explained(dockerfile: Dockerfile, step: Instruction) -> Iterator[None]:
    try:
        yield
    except BadWord as error:
        raise ConfigError(f"{dockerfile.path}, line {step.line}: {error}") from error
