"""A stack's settings: where its images come from, where it runs, and whether it is protected."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from slipway.model.errors import ConfigError
from slipway.model.files import write_atomically
from slipway.model.names import REGISTRY
from slipway.model.reading import read_text, unknown_key

Mode = Literal["inline", "external", "hybrid"]
Target = Literal["docker"]
MODES: tuple[Mode, ...] = get_args(Mode)
TARGETS: tuple[Target, ...] = get_args(Target)
OVERRIDE = "SLIPWAY_IMAGES"
"""The environment variable that sets the mode for one run."""

_SETTINGS: dict[str, Collection[Any] | re.Pattern[str]] = {
    "slipway:images": MODES,
    "slipway:target": TARGETS,
    "slipway:protected": (True, False),
    "slipway:port": range(1, 65536),
    "slipway:registry": REGISTRY,
}


@dataclass(frozen=True)
class Stack:
    """One place where the services run.

    `images` is the mode in force, `overridden` says that it is not the file's; `port` is the gateway's and `registry`
    the one that holds its released images, where the stack has one of its own.
    """

    name: str
    file: Path
    images: Mode
    target: Target
    protected: bool
    port: int | None = None
    registry: str | None = None
    overridden: bool = False


def names(root: Path) -> tuple[str, ...]:
    """Return the names of the workspace's stacks: one for each infra/Pulumi.<stack>.yaml."""
    return tuple(sorted(path.name.split(".")[1] for path in (root / "infra").glob("Pulumi.*.yaml")))


def load(root: Path, name: str, environment: Mapping[str, str]) -> Stack:
    """Read a stack's settings; SLIPWAY_IMAGES in the environment overrides its mode.

    Raises:
        ConfigError: there is no such stack, its file or SLIPWAY_IMAGES is wrong, or a protected stack is inline.
    """
    path = root / "infra" / f"Pulumi.{name}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"there is no stack `{name}`: {path} is missing",
            remedy=f"Stacks here: {', '.join(names(root)) or 'none'}.",
        )
    text = read_text(path)
    config = _config(path, text)
    stack = Stack(
        name,
        path,
        images=config.get("slipway:images", "inline"),
        target=config.get("slipway:target", "docker"),
        protected=config.get("slipway:protected", False),
        port=config.get("slipway:port"),
        registry=config.get("slipway:registry"),
    )
    override = environment.get(OVERRIDE)
    if override:
        mode = as_mode(override, f"the environment variable {OVERRIDE}: ")
        stack = replace(stack, images=mode, overridden=mode != stack.images)
    refuse_inline_when_protected(stack)
    return stack


def refuse_inline_when_protected(stack: Stack) -> None:
    """Raise ConfigError when a protected stack would build inside Pulumi: nothing unproven may reach it."""
    if stack.protected and stack.images == "inline":
        where = OVERRIDE if stack.overridden else f"{stack.file}: slipway:images"
        raise ConfigError(
            f"{where} is `inline`, but the stack `{stack.name}` is protected and takes no image built on the way",
            remedy=f"Use `external` (or `hybrid`), or set slipway:protected to false in {stack.file}.",
        )


def write_mode(stack: Stack, mode: Mode) -> None:
    """Set `slipway:images` in the stack's file and leave every other line as it is."""
    text = read_text(stack.file)
    line = re.compile(r"^(\s+slipway:images:\s*)([\"']?)[\w-]+\2", re.MULTILINE)
    if line.search(text):
        text = line.sub(rf"\g<1>{mode}", text, count=1)
    elif re.search(r"^config:\s*$", text, re.MULTILINE):
        text = re.sub(r"^config:\s*$", f"config:\n  slipway:images: {mode}", text, count=1, flags=re.MULTILINE)
    else:
        text = f"{text.rstrip()}\nconfig:\n  slipway:images: {mode}\n".lstrip()
    write_atomically(stack.file, text)


def _config(path: Path, text: str) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: this is not valid YAML: {error}", remedy="Correct that line.") from error
    config = data.get("config") or {} if isinstance(data, dict) else {}
    ours = {key: value for key, value in config.items() if str(key).startswith("slipway:")}
    for key, value in ours.items():
        if key not in _SETTINGS:
            raise unknown_key(path, _line(text, key), (key,), _SETTINGS)
        if isinstance(value, str) and (value in ("true", "false") or value.isdigit()):
            ours[key] = yaml.safe_load(value)  # Pulumi writes booleans and numbers as texts
        if remedy := _refusal(ours[key], _SETTINGS[key]):
            raise ConfigError(f"{path}:{_line(text, key)}: `{key}` is {value!r}", remedy=remedy)
    return ours


def _refusal(value: object, allowed: Collection[Any] | re.Pattern[str]) -> str:
    """Return what a value should be, or nothing where it is that."""
    if isinstance(allowed, re.Pattern):
        return "" if allowed.fullmatch(str(value)) else "Write host[:port][/path] without a scheme."
    if value in allowed:
        return ""
    choices = "1 to 65535" if isinstance(allowed, range) else ", ".join(str(each).lower() for each in allowed)
    return f"It may be one of: {choices}."


def _line(text: str, key: str) -> int:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip().startswith(f"{key}:"):
            return number
    return 1


def as_mode(text: str, where: str = "") -> Mode:
    """Return the text as a mode; ConfigError naming `where` it stands and the modes when it is none."""
    for mode in MODES:
        if mode == text:
            return mode
    raise ConfigError(f"{where}{text!r} is no mode", remedy=f"The modes are {', '.join(MODES)}.")
