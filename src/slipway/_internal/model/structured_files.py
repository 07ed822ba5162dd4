"""Reads TOML, YAML and JSON files into frozen values; errors name file, line, key and remedy."""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from slipway._internal.model import parsing
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.files import MAX_STATE_BYTES, read_bytes
from slipway._internal.model.parsing import ParseError
from slipway._internal.model.text import TEXT_LIMIT, read_text, why_unreadable

J = TypeVar("J")
T = TypeVar("T", bound=msgspec.Struct)
TYPE_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text in quotes",
    "bool": "true or false",
    "array": "a list",
    "date": "a date such as 2026-12-31",
    "object": "a table",
}
MAX_KEY_LINE_CHARACTERS = 500
"""Letters of a line that are searched for its key."""
_TABLE_HEADER = re.compile(r"\s*(\[?)\[\s*([^\[\]\s](?:[^\[\]]*[^\[\]\s])?)\s*\]\]?\s*(#.*)?$")
_KEY_VALUE = re.compile(r"\s*([\w.\"'-]+)\s*=")
_ERROR_PATH = re.compile(r"(?P<why>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)


def read_toml(path: Path, into: type[T], *, text: str | None = None) -> T:
    """Return the file's content as an `into`, whose fields are the known keys.

    Args:
        path: the file.
        into: what it is to become.
        text: what it holds, where the caller has read it.

    Raises:
        ConfigError: the file is missing, is not TOML, has an unknown key or a value of the wrong type.
    """
    text = read_text(path) if text is None else text
    try:
        data = parsing.parse_toml(text)
    except ParseError as error:
        remedy = "Correct that line; strings need quotes."
        raise _parse_failure(path, error, ConfigError, "not valid TOML", remedy) from error
    refuse_unknown_keys(path, text, data, into)
    try:
        return msgspec.convert(data, into)
    except msgspec.ValidationError as error:
        raise _type_error(path, text, str(error), into) from error


def read_yaml(path: Path, *, text: str | None = None) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; an empty file holds an empty one.

    Args:
        path: the file.
        text: what it holds, where the caller has read it.

    Raises:
        ConfigError: the file is missing, is not YAML, or holds something else than keys and values.
    """
    remedy = "Correct that line: it takes keys and values, `key: value`."
    try:
        data = parsing.parse_yaml(read_text(path) if text is None else text)
    except ParseError as error:
        raise _parse_failure(path, error, ConfigError, "not valid YAML", remedy) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: this is a {_type_name(data)} and not keys with values", remedy=remedy)
    return data


def read_json(
    path: Path,
    into: type[J],
    *,
    what: str,
    remedy: str,
    error: type[SlipwayError] = ConfigError,
    limit: int = TEXT_LIMIT,
) -> J:
    """Return the content of a JSON file that decides something; a key that stands twice is refused.

    Args:
        path: the file.
        into: the type that it has.
        what: what a reader calls such a file: `lock`.
        remedy: what to do where it is missing or wrong.
        error: the kind of error to raise.
        limit: bytes that it may have.

    Raises:
        SlipwayError: of the kind `error`, naming the file, and the line where that is known.
    """
    try:
        data = read_bytes(path, limit)
    except (OSError, ValueError) as problem:
        raise error(why_unreadable(path, problem), remedy=remedy) from problem
    try:
        return parsing.parse_json(data, into, unique=True)
    except ParseError as problem:
        raise _parse_failure(path, problem, error, f"no {what}", remedy) from problem


def read_json_or_none(path: Path, into: type[J] | Any = Any, *, limit: int = MAX_STATE_BYTES) -> J | None:
    """Return the content of a JSON file that serves as a cache; None where it is missing or damaged."""
    try:
        found: J = parsing.parse_json(read_bytes(path, limit), into)
    except (OSError, ValueError):  # ParseError among them
        return None
    return found


def path_exists(path: Path) -> bool:
    """Whether anything has this name, a broken link included."""
    return os.path.lexists(path)


def _parse_failure(path: Path, problem: ParseError, kind: type[SlipwayError], form: str, remedy: str) -> SlipwayError:
    where = f"{path}:{problem.line}" if problem.line else str(path)
    return kind(f"{where}: this is {form}: {problem}", remedy=remedy)


def _type_name(value: Any) -> str:
    return {str: "text", list: "list", bool: "truth value"}.get(type(value), "number")


def refuse_unknown_keys(
    path: Path, text: str, data: Mapping[str, Any], into: type[msgspec.Struct], above: tuple[str, ...] = ()
) -> None:
    """Raise ConfigError for the first key that `into` does not know, naming its line and the known keys."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(into)}
    for key, value in data.items():
        if key not in fields:
            raise unknown_key_error(path, line_of(text, (*above, key)), (*above, key), fields)
        for part in (fields[key], *get_args(fields[key])):
            if not (isinstance(part, type) and issubclass(part, msgspec.Struct) and isinstance(value, Mapping | list)):
                continue
            for name, inner in _named_tables(value, single=part is fields[key]):
                if isinstance(inner, Mapping):
                    refuse_unknown_keys(path, text, inner, part, (*above, key, *([name] if name else [])))


def _named_tables(value: Mapping[str, Any] | list[Any], *, single: bool) -> Iterable[tuple[str, Any]]:
    """Return the tables of a key by name: the one that it is, those that it names, or those of a list by number."""
    if isinstance(value, list):
        return [(str(number), table) for number, table in enumerate(value)]
    return [("", value)] if single else value.items()


def unknown_key_error(path: Path, line: int, keys: tuple[str, ...], known: Iterable[str]) -> ConfigError:
    """Return the error for an unknown key, with the nearest known key and the list of all."""
    known = sorted(known)
    near = difflib.get_close_matches(keys[-1], known, n=1)
    hint = f"Did you mean `{near[0]}`? " if near else ""
    table = f"[{'.'.join(_without_indexes(keys[:-1]))}]"
    where = f" in {f'[{table}]' if keys[-2].isdigit() else table}" if keys[:-1] else ""
    return ConfigError(
        f"{path}:{line}: unknown key `{keys[-1]}`{where}",
        remedy=f"{hint}Known keys here: {', '.join(known)}.",
    )


def line_of(text: str, keys: tuple[str, ...]) -> int:
    """Return the number of the line that sets a key (its own line, its table's, or 1 where neither is found).

    A table of a list, as in `[[scan.exceptions]]`, is named by its number: `("scan", "exceptions", "0")`.
    """
    table: tuple[str, ...] = ()
    found = 1
    counts: Counter[tuple[str, ...]] = Counter()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE_HEADER.match(line[:MAX_KEY_LINE_CHARACTERS]):
            table = tuple(part.strip().strip("\"'") for part in header[2].split("."))
            if header[1]:
                counts[table] += 1
                table = (*table, str(counts[table] - 1))
            if table == keys[: len(table)]:
                found = number
            if table == keys:
                return number
        elif pair := _KEY_VALUE.match(line[:MAX_KEY_LINE_CHARACTERS]):
            path = (*table, *(part.strip("\"'") for part in pair[1].split(".")))
            if path[: len(keys)] == keys[: len(path)] and len(path) > len(table):
                return number
    return found


def _type_error(path: Path, text: str, message: str, into: type[msgspec.Struct]) -> ConfigError:
    match = _ERROR_PATH.match(message)
    assert match  # it takes every text
    keys = tuple(part for part in re.split(r"[.\[\]]+", match["path"] or "") if part and part != "...")
    why = match["why"].replace("Object missing required field", "missing key").replace(" | null", "").rstrip()
    for word, plain in TYPE_NAMES.items():
        why = why.replace(f"`{word}`", plain)
    why = why[:1].lower() + why[1:]
    known = ", ".join(field.encode_name for field in msgspec.structs.fields(into))
    name = f"`{'.'.join(_without_indexes(keys))}`: " if keys else ""
    choices = _choices(into, keys)
    remedy = f"One of: {', '.join(choices)}." if choices else f"Correct the value. Keys of this file: {known}."
    return ConfigError(f"{path}:{line_of(text, keys)}: {name}{why}", remedy=remedy)


def _without_indexes(keys: Iterable[str]) -> list[str]:
    """Return keys without list indexes, which no file shows."""
    return [key for key in keys if not key.isdigit()]


def _choices(kind: Any, keys: tuple[str, ...]) -> list[str]:
    """Return the words that a key accepts; empty where it accepts other values."""
    if not keys:
        return [repr(word) for word in get_args(kind)] if get_origin(kind) is Literal else []
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        return _choices(fields[keys[0]], keys[1:]) if keys[0] in fields else []
    return next((found for part in get_args(kind) if (found := _choices(part, keys[1:]))), [])
