"""How the files in ai/ are read: strictly, with errors that name file, key and remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")]
"""Of a model, a tenant, a prompt: what may stand in a path, a header and a counter's key."""
Names = Annotated[tuple[Name, ...], Field(strict=False)]
SecretName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


ROOT = Path(__file__).resolve().parents[1]


class ConfigError(Exception):
    """What is wrong in a file, and what to do about it."""

    def __init__(self, file: Path, key: str, message: str, remedy: str) -> None:
        shown = file.resolve()
        shown = shown.relative_to(ROOT) if shown.is_relative_to(ROOT) else shown
        super().__init__(f"{shown}: {key + ': ' if key else ''}{message}\n  remedy  {remedy}")


class Table(BaseModel):
    """A table of a file; a key is written with dashes, and one that is not known is refused."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", alias_generator=lambda name: name.replace("_", "-")
    )

    @model_validator(mode="before")
    @classmethod
    def refuse_unknown(cls, table: Any) -> Any:
        """Name the known keys beside one that is not."""
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if isinstance(table, dict) and (unknown := sorted(set(table) - set(known))):
            raise PydanticCustomError(
                "unknown_key",
                "there is no key {unknown}; the keys are: {known}",
                {"unknown": ", ".join(map(repr, unknown)), "known": ", ".join(known)},
            )
        return table


Read = TypeVar("Read", bound=Table)


def read_toml(file: Path, shape: type[Read]) -> Read:
    """Return what a TOML file says.

    Raises:
        ConfigError: it is missing, is not TOML, or says what it may not.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(file, "", f"it cannot be read: {error}", "Restore it from git.") from error
    return parse_toml(file, text, shape)


def parse_toml(file: Path, text: str, shape: type[Read]) -> Read:
    """Return what a file's text says; see `read_toml`."""
    try:
        return shape.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(file, "", f"this is not TOML: {error}", "Correct that line.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            file, key, first["msg"], "Correct it; Slipway's reference has every key, under ai-gateway."
        ) from error
