"""Refuses images, sources of `ADD` and frontends in a Dockerfile that are not pinned: they may change unnoticed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from slipway._internal.content import add_sources
from slipway._internal.content.dockerfile import (
    Dockerfile,
    Stage,
    argument_values_by_platform,
    expand_text,
    familiar_name,
    find_earlier_stage,
    pulled_images,
    walk_needed_stages,
)
from slipway._internal.content.dockerfile_parser import Instruction
from slipway._internal.content.dockerfile_words import WordError, expand_variables, split_words
from slipway._internal.content.frontend import FRONTEND_ARGUMENT, is_builders_own, own_version, served_version
from slipway._internal.model.errors import ConfigError

_PINNED_REFERENCE = re.compile(r"@sha256:[0-9a-f]{64}\Z")


def check(
    dockerfile: Dockerfile,
    target: str = "",
    *,
    args: Mapping[str, str] | None = None,
    contexts: Collection[str] = (),
    platforms: Collection[str] = (),
) -> None:
    """Make sure that a stage exists, and that all it takes from elsewhere is pinned; arguments as for `pulled_images`.

    Raises:
        ConfigError: the stage is unknown, or something is not pinned.
    """
    check_frontend(dockerfile, args or {})
    for name, reference in pulled_images(dockerfile, target, args=args, contexts=contexts, platforms=platforms).items():
        if not _PINNED_REFERENCE.search(name):
            raise ConfigError(
                f"{dockerfile.path}, line {reference.line}: {reference.instruction} {name} is not pinned by digest",
                remedy=f"Write {name}@sha256:…, or start from a base: `ARG PYTHON_RUN` above, "
                "then `FROM ${PYTHON_RUN}`.",
            )
    for values in argument_values_by_platform(dockerfile, target, args or {}, platforms):
        for stage, _ in walk_needed_stages(dockerfile, target, values, {familiar_name(name) for name in contexts}):
            _check_add_sources(dockerfile, stage, values, args or {})


def check_frontend(dockerfile: Dockerfile, args: Mapping[str, str]) -> None:
    """Refuse a frontend that is not pinned: it decides how the Dockerfile is built.

    The builder's own is pinned, and so is a later version of it, which Slipway builds.

    Raises:
        ConfigError: the `# syntax=` line, or the argument BUILDKIT_SYNTAX, names one without a digest.
    """
    line = dockerfile.syntax
    if is_builders_own(line) or served_version(line):
        line = ""
    for where, frontend in (
        (f"{dockerfile.path}: the line `syntax={line}`", line),
        (
            f"{dockerfile.path}: the argument {FRONTEND_ARGUMENT}={args.get(FRONTEND_ARGUMENT)}",
            args.get(FRONTEND_ARGUMENT, ""),
        ),
    ):
        image = frontend.split(" ")[0]
        if image and not _PINNED_REFERENCE.search(image):
            raise ConfigError(
                f"{where} names a frontend that is not pinned by digest",
                remedy=f"Remove it, or write `# syntax=docker/dockerfile:1`: the builder has a frontend of its own, of "
                f"version {own_version()}. Or pin it: {image}@sha256:…",
            )


def _check_add_sources(
    dockerfile: Dockerfile, stage: Stage, values: Mapping[str, str], args: Mapping[str, str]
) -> None:
    """Refuse an `ADD` of a stage that takes something from elsewhere which is not pinned."""
    if not any(step.keyword == "ADD" for step in stage.steps):
        return
    for step, variables in _walk_with_variables(dockerfile, stage, values, args):
        found = None
        if step.keyword == "ADD":
            with _word_errors(dockerfile, step):
                found = next(add_sources.find_problems(step, variables, dockerfile.escape), None)
        if found:
            raise ConfigError(f"{dockerfile.path}, line {step.line}: {found[0]}", remedy=found[1])


def _walk_with_variables(
    dockerfile: Dockerfile, stage: Stage, values: Mapping[str, str], args: Mapping[str, str]
) -> Iterator[tuple[Instruction, dict[str, str]]]:
    """Yield the instructions of a stage, each with the variables that are set where it stands."""
    arguments: dict[str, str] = {}
    environment = _inherited_environment(dockerfile, stage, values, args)
    for step in stage.steps:
        variables = {**arguments, **environment}
        yield step, variables
        with _word_errors(dockerfile, step):
            if step.keyword == "ENV":
                environment |= add_sources.parse_env(step, variables, dockerfile.escape)
            elif step.keyword == "ARG":
                for word in split_words(step.rest, dockerfile.escape)[0]:
                    name, equals, default = word.partition("=")
                    if name in args or (not equals and name in values):
                        arguments[name] = args.get(name, values.get(name, ""))
                    elif equals:
                        arguments[name] = expand_variables(default, {**arguments, **environment}, dockerfile.escape)


def _inherited_environment(
    dockerfile: Dockerfile, stage: Stage, values: Mapping[str, str], args: Mapping[str, str]
) -> dict[str, str]:
    """Return what the stage that one starts from leaves set by ENV; nobody looks into a base image."""
    name = expand_text(dockerfile, stage.base.text, values, stage.base)
    base = find_earlier_stage(dockerfile, name, stage, stage.base)
    if base is None:
        return {}
    environment = _inherited_environment(dockerfile, base, values, args)
    for step, variables in _walk_with_variables(dockerfile, base, values, args):
        if step.keyword == "ENV":
            with _word_errors(dockerfile, step):
                environment |= add_sources.parse_env(step, variables, dockerfile.escape)
    return environment


@contextmanager
def _word_errors(dockerfile: Dockerfile, step: Instruction) -> Iterator[None]:
    try:
        yield
    except WordError as error:
        raise ConfigError(f"{dockerfile.path}, line {step.line}: {error}") from error
