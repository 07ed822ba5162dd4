"""Parses TOML, YAML and JSON: any text gives plain data within bounds, or a ParseError.

Other packages are imported where they are used: the template reads TOML where there are none.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from typing import Any, TypeVar

from slipway._internal.model.parsing_limits import MAX_DEPTH

T = TypeVar("T")
JsonObject = dict[str, Any]
"""A table of JSON, of which nothing is known but its keys' type."""
MAX_INTEGER = 2**63 - 1
_BYTE_OFFSET = re.compile(r"\s*\(byte (\d+)\)")


class ParseError(ValueError):
    """A text that is not valid in its format, or exceeds the bounds; `line` is where, or 0."""

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.line = line


def parse_toml(text: str) -> dict[str, Any]:
    """Return what a TOML text holds.

    Raises:
        ParseError: it is not TOML, nested too deeply, or has a number that is too large, `nan` or `inf`.
    """
    try:
        found = tomllib.loads(text)
    except RecursionError as error:
        raise ParseError("it is nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, and what int() and date() say
        why = str(error)
        line = re.search(r"\(at line (\d+), column \d+\)", why)
        raise ParseError(_one_line(why), int(line[1]) if line else 0) from error
    _check_bounds(found)
    return found


def parse_yaml(text: str) -> Any:
    """Return what a YAML text holds; dates stay texts, and a key that stands twice is refused.

    Raises:
        ParseError: it is not YAML, nested too deeply, or its aliases stand for too much.
    """
    import yaml

    from slipway._internal.model.yaml_loader import BoundedLoader

    try:
        found = yaml.load(text, Loader=BoundedLoader)  # noqa: S506 - a SafeLoader with bounds
    except yaml.MarkedYAMLError as error:
        mark, why = error.problem_mark or error.context_mark, error.problem or error.context or "it cannot be read"
        raise ParseError(_one_line(why), mark.line + 1 if mark else 0) from error
    except yaml.YAMLError as error:
        raise ParseError(_one_line(str(error))) from error
    except RecursionError as error:
        raise ParseError("it is nested too deeply") from error
    except Exception as error:  # PyYAML's constructors raise whatever int() and a wrong tag's text make them raise
        raise ParseError(f"it has a value that cannot be read: {_one_line(str(error))}") from error
    _check_bounds(found)
    return found


def parse_json(data: bytes | str, into: type[T] | Any = Any, *, unique: bool = False) -> T:
    """Return what a JSON text holds as an `into`.

    Args:
        data: UTF-8.
        into: a type that msgspec knows; Any for whatever it is.
        unique: refuse a key that stands twice in one object: of a text that decides something.

    Raises:
        ParseError: it is not JSON, not of that type, nested too deeply, or holds a text that is not Unicode.
    """
    import msgspec

    raw = (data if isinstance(data, bytes) else data.encode(errors="surrogatepass")).removeprefix(b"\xef\xbb\xbf")
    try:
        found: T = msgspec.json.decode(raw, type=into)
    except RecursionError as error:
        raise ParseError("it is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        why = str(error)
        offset = _BYTE_OFFSET.search(why)
        line = raw[: int(offset[1])].count(b"\n") + 1 if offset else 0
        raise ParseError(_one_line(_BYTE_OFFSET.sub("", why) or "it is not JSON"), line) from error
    if unique:
        _refuse_duplicate_keys(raw)
    return found


def convert(data: Any, into: type[T], *, strict: bool = True) -> T:
    """Return plain data as an `into`.

    Raises:
        ParseError: it is not of that type.
    """
    import msgspec

    try:
        return msgspec.convert(data, into, strict=strict)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        raise ParseError(_one_line(str(error))) from error


def is_number(text: str, digits: int = 18) -> bool:
    """Whether a text is a whole number in ASCII that int() takes, of at most so many digits."""
    return text.isascii() and text.isdigit() and len(text) <= digits


def _refuse_duplicate_keys(raw: bytes) -> None:
    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ParseError(f"the key `{_one_line(key)}` appears twice")
            found[key] = value
        return found

    try:
        json.loads(raw, object_pairs_hook=table)
    except RecursionError as error:
        raise ParseError("it is nested too deeply") from error


def _check_bounds(data: Any) -> None:
    """Raise ParseError for what no setting can be: too deep, a number beyond 64 bits, no number, a text with NUL."""
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        next_level: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                next_level.extend(value.keys())
                next_level.extend(value.values())
            elif isinstance(value, list):
                next_level.extend(value)
            else:
                _check_value(value)
        if not next_level:
            return
        level = next_level
    raise ParseError("it is nested too deeply")


def _check_value(value: Any) -> None:
    if isinstance(value, str) and "\0" in value:
        raise ParseError("a text holds the character NUL")
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ParseError("a number is too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise ParseError(f"{value} is not a finite number")


def _one_line(text: str) -> str:
    """Return a text as one line that fits into a message."""
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]} …"
