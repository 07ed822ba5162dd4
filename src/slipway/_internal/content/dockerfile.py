"""What a build needs from a Dockerfile before it starts: arguments, stages and images."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from slipway._internal.content import dockerfile_parser, healthcheck
from slipway._internal.content.context_paths import read_inside
from slipway._internal.content.dockerfile_parser import DockerfileError, Instruction
from slipway._internal.content.dockerfile_words import WordError, expand_variables, split_words
from slipway._internal.content.healthcheck import Healthcheck
from slipway._internal.model.errors import ConfigError

SCRATCH = "scratch"
_MOUNT_TARGET_KEYS = ("target", "dst", "destination")


@dataclass(frozen=True)
class Reference:
    """A place where an instruction names a stage, a context or an image: its line, its manner, the text."""

    line: int
    instruction: str
    text: str


@dataclass(frozen=True)
class Stage:
    """One stage: its number, its name (`AS name`), what it starts from, what else it takes files from, the ids of its
    cache mounts and of its secret mounts, its own health check, and its ARG, ENV and ADD instructions."""

    number: int
    name: str
    base: Reference
    sources: tuple[Reference, ...]
    caches: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    health: Healthcheck | None = None
    steps: tuple[Instruction, ...] = ()


@dataclass(frozen=True)
class Dockerfile:
    """What a build needs from a Dockerfile.

    Attributes:
        path: the file.
        text: its bytes.
        arguments: the global arguments (before the first FROM) with their defaults as written; None without
        one.
        stages: in their order.
        syntax: the `# syntax=` directive; empty without one.
        escape: the escape character.
    """

    path: Path
    text: bytes
    arguments: Mapping[str, str | None]
    stages: tuple[Stage, ...]
    syntax: str
    escape: str

    def mounts_secret(self, name: str) -> bool:
        """Whether a build may read a secret; an id with a variable in it may be any."""
        return any(secret == name or "$" in secret for stage in self.stages for secret in stage.secrets)

    def has_stage(self, name: str) -> bool:
        """Whether a stage has this name, without regard to case."""
        return any(stage.name.lower() == name.lower() for stage in self.stages)

    def stage(self, name: str) -> Stage:
        """Return a stage by its name, without regard to case; the last one for an empty name.

        Raises:
            ConfigError: there is no such stage.
        """
        if not name:
            return self.stages[-1]
        found = [stage for stage in self.stages if stage.name and stage.name.lower() == name.lower()]
        if not found:
            known = ", ".join(stage.name for stage in self.stages if stage.name) or "none has a name"
            raise ConfigError(f"{self.path} has no stage {name}", remedy=f"Its stages: {known}.")
        return found[-1]

    def health(self, target: str) -> Healthcheck | None:
        """Return the health check of a stage's image: its own, or that of the stage that it starts from.

        None where there is none (`HEALTHCHECK NONE`), and where only a base image, which nobody looks into, may have
        one. Raises ConfigError when there is no such stage.
        """
        stage: Stage | None = self.stage(target)
        while stage and not stage.health:
            earlier = (candidate for candidate in self.stages[: stage.number] if candidate.name)
            base = stage.base.text.lower()
            stage = next((candidate for candidate in earlier if candidate.name.lower() == base), None)
        return stage.health if stage and stage.health and stage.health.command else None


def read(path: Path) -> Dockerfile:
    """Read a Dockerfile.

    Raises:
        ConfigError: it is missing, cannot be read, or BuildKit could not make sense of it either.
    """
    text = _read_bytes(path)
    plain = text.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    directives = dockerfile_parser.parse_directives(plain)
    escape = directives.get("escape", "\\")
    if escape not in ("\\", "`"):
        raise ConfigError(f"{path}: `# escape={escape}`", remedy="The escape character is either \\ or `.")
    try:
        arguments, stages = _collect_stages(list(dockerfile_parser.parse_instructions(plain, escape)), escape)
    except DockerfileError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not stages:
        raise ConfigError(f"{path} has no FROM", remedy="Start a stage with `FROM image AS name`.")
    return Dockerfile(path, text, arguments, tuple(stages), directives.get("syntax", ""), escape)


def pulled_images(
    dockerfile: Dockerfile,
    target: str = "",
    *,
    args: Mapping[str, str] | None = None,
    contexts: Collection[str] = (),
    platforms: Collection[str] = (),
) -> dict[str, Reference]:
    """Return the images that building a stage pulls: the image's name → where it is named first.

    Args:
        dockerfile: the Dockerfile.
        target: the stage; empty for the last one. Stages that it does not need are not looked at.
        args: the build arguments that the build will be given.
        contexts: the names of named contexts, which stand in for stages and images.
        platforms: such as `linux/amd64`: arguments like TARGETARCH may choose a stage.

    Raises:
        ConfigError: the stage is unknown, or a name comes out empty.
    """
    dockerfile.stage(target)
    found: dict[str, Reference] = {}
    for values in argument_values_by_platform(dockerfile, target, args or {}, platforms):
        for _, needed in walk_needed_stages(dockerfile, target, values, {familiar_name(name) for name in contexts}):
            for name, reference in needed:
                found.setdefault(name, reference)
    return found


def platform_arguments(platform: str) -> dict[str, str]:
    """Return the arguments that BuildKit gives by itself; the builder counts as of the target's platform."""
    system, _, rest = platform.partition("/")
    machine, _, variant = rest.partition("/")
    values = {"PLATFORM": platform, "OS": system, "ARCH": machine, "VARIANT": variant}
    return {f"{side}{key}": value for side in ("TARGET", "BUILD") for key, value in values.items()}


def argument_values_by_platform(
    dockerfile: Dockerfile, target: str, args: Mapping[str, str], platforms: Collection[str]
) -> Iterator[dict[str, str]]:
    """Yield the global arguments' values for each platform that is built."""
    for platform in sorted(set(platforms)) or ["linux/amd64"]:
        yield _argument_values(dockerfile, {**platform_arguments(platform), "TARGETSTAGE": target}, args)


def _read_bytes(path: Path) -> bytes:
    text = read_inside(path.parent, path.name)
    if text is None and path.name == "Dockerfile":
        text = read_inside(path.parent, "dockerfile")
    if text is None and path.is_symlink():
        raise ConfigError(
            f"{path} is a link out of its folder, which BuildKit does not follow",
            remedy="Put a copy in its place, or move the shared part into a base.",
        )
    if text is None:
        raise ConfigError(
            f"{path} is missing",
            remedy="Write one; `invoke new NAME --kind KIND` creates a service with one.",
        )
    return text


def _collect_stages(instructions: list[Instruction], escape: str) -> tuple[dict[str, str | None], list[Stage]]:
    arguments: dict[str, str | None] = {}
    stages: list[Stage] = []
    for instruction in instructions:
        if instruction.keyword == "FROM":
            stages.append(_parse_from(len(stages), instruction))
        elif not stages:
            if instruction.keyword != "ARG":
                raise DockerfileError(f"line {instruction.line}: {instruction.keyword} before the first FROM")
            for word in split_words(instruction.rest, escape)[0]:
                name, equals, default = word.partition("=")
                arguments[name] = default if equals else None
        else:
            last = stages[-1]
            inner = dockerfile_parser.unwrap_onbuild(instruction, escape)
            sources = (*last.sources, *_copy_sources(inner))
            caches = (*last.caches, *_mount_ids(inner, "cache"))
            secrets = (*last.secrets, *_mount_ids(inner, "secret"))
            health = healthcheck.parse(instruction) if instruction.keyword == "HEALTHCHECK" else last.health
            steps = (*last.steps, inner) if inner.keyword in ("ARG", "ENV", "ADD") else last.steps
            stages[-1] = Stage(last.number, last.name, last.base, sources, caches, secrets, health, steps)
    return arguments, stages


def _parse_from(number: int, instruction: Instruction) -> Stage:
    parts = instruction.rest.split()
    if len(parts) not in (1, 3) or (len(parts) == 3 and parts[1].lower() != "as"):
        raise DockerfileError(f"line {instruction.line}: FROM needs `image` or `image AS name`")
    name = parts[2] if len(parts) == 3 else ""
    return Stage(number, name, Reference(instruction.line, "FROM", parts[0]), ())


def _copy_sources(instruction: Instruction) -> Iterator[Reference]:
    if instruction.keyword in ("COPY", "ADD"):
        for source in instruction.flags.get("from", ()):
            yield Reference(instruction.line, f"{instruction.keyword} --from", source)
    elif instruction.keyword == "RUN":
        for mount in dockerfile_parser.parse_mounts(instruction):
            if mount.get("from"):
                yield Reference(instruction.line, "RUN --mount from", mount["from"])


def _mount_ids(instruction: Instruction, kind: str) -> Iterator[str]:
    """Yield the ids of an instruction's mounts of a kind; where there is none, BuildKit goes by the target."""
    if instruction.keyword == "RUN":
        for mount in dockerfile_parser.parse_mounts(instruction):
            if mount.get("type") == kind:
                target = next((mount[key] for key in _MOUNT_TARGET_KEYS if mount.get(key)), "")
                yield mount.get("id") or (PurePosixPath(target).name if kind == "secret" else target)


def _argument_values(dockerfile: Dockerfile, builtin: Mapping[str, str], args: Mapping[str, str]) -> dict[str, str]:
    """Return the global arguments' values: given, or the default with what stands before it put in."""
    values = dict(builtin)
    for name, default in dockerfile.arguments.items():
        if name in args:
            values[name] = args[name]
        elif default is not None:
            values[name] = expand_text(dockerfile, default, values)
    return values


def expand_text(
    dockerfile: Dockerfile, text: str, values: Mapping[str, str], reference: Reference | None = None
) -> str:
    try:
        return expand_variables(text, values, dockerfile.escape)
    except WordError as error:
        where = f", line {reference.line}" if reference else ""
        raise ConfigError(f"{dockerfile.path}{where}: {error}") from error


def walk_needed_stages(
    dockerfile: Dockerfile, target: str, values: Mapping[str, str], contexts: set[str]
) -> Iterator[tuple[Stage, list[tuple[str, Reference]]]]:
    """Yield a stage and all stages it needs, each with the images that it takes: the image's name, and where it is."""
    todo, seen = [dockerfile.stage(target)], set()
    while todo:
        stage = todo.pop()
        if stage.number in seen or (stage.name and familiar_name(stage.name.lower()) in contexts):
            continue
        seen.add(stage.number)
        images = []
        for reference in (stage.base, *stage.sources):
            name = expand_text(dockerfile, reference.text, values, reference)
            if not name:
                raise ConfigError(
                    f"{dockerfile.path}, line {reference.line}: {reference.instruction} {reference.text} is empty",
                    remedy="If it is a base of Slipway's, run `invoke setup`. If not, give the argument a default, or "
                    "a value in service.toml under [args].",
                )
            found = find_earlier_stage(dockerfile, name, stage, reference)
            if found:
                todo.append(found)
            elif name != SCRATCH and familiar_name(name) not in contexts:
                images.append((name, reference))
        yield stage, images


def find_earlier_stage(dockerfile: Dockerfile, name: str, within: Stage, reference: Reference) -> Stage | None:
    """Return the earlier stage that a name or (not in FROM) a number means."""
    earlier = dockerfile.stages[: within.number]
    if name.isdecimal() and reference is not within.base:
        if int(name) >= len(earlier):
            raise ConfigError(f"{dockerfile.path}, line {reference.line}: there is no earlier stage {name}")
        return earlier[int(name)]
    return next((stage for stage in reversed(earlier) if stage.name.lower() == name.lower()), None)


def familiar_name(name: str) -> str:
    return name.removeprefix("docker.io/").removeprefix("library/").removesuffix(":latest")
