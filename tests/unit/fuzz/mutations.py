"""Makes damaged texts of good ones: flipped bytes, cut ends, values of other kinds, what is too deep or too long."""

from __future__ import annotations

import json
import random
from typing import Any

DIGITS = "9" * 5000
DEEP = 1500
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 2**31, 2**63, 10**30, 1e308, "", "x", "²", "\0", "../../../etc/passwd", "-", "~x/y",
    "sha256:x", "a@b@c", "2026-99-99", "[::", "%zz", "\x1b[2J", "9" * 400, [], [1], [None], {}, {"a": 1}, [[]], [{}],
)  # fmt: skip
"""Values that may stand in the place of any other."""
_NESTED = ("[" * DEEP, "{" * DEEP, '{"a":' * DEEP, "[[" * DEEP, "- " * DEEP, "a: " * DEEP)
_LONG = (DIGITS, "x" * 70_000, " " * 3000, "\n" * 3000)
_BYTES = ("\0", "\udcff", "\udcc3(", "\ufeff", "\r", "\x1b[2J", "é", "𝕏", "²", "٣")
_MARKS = ('"""', "'''", "=", ":", ",", "]", "}", '"', "\n", "${", "\\", "<<END\n", "--")
_VALUES = ("null", "NaN", "-Infinity", "1e999", "2026-99-99", "25:61:61", '"\\ud800"', "\\u0000")
_YAML = ("&a [*a]", "<<: *x", "!!int ''", "!!python/object:os.system {}")
_TOML = ("a = 1\na = 2\n", "a.b.c.d = 1\n", "[a]\n[a]\n", "[[a]]\n")
JUNK = tuple(
    part.encode("utf-8", "surrogateescape") for part in (*_NESTED, *_LONG, *_BYTES, *_MARKS, *_VALUES, *_YAML, *_TOML)
)
"""Parts that are put in anywhere."""


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Return a text that was damaged in one to three ways."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = _of_value(rng, data) if rng.random() < 0.4 else _of_bytes(rng, data)
    return data


def _of_bytes(rng: random.Random, data: bytes) -> bytes:  # noqa: PLR0911 - one for each kind of damage
    at, to = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    lines = data.split(b"\n")
    line = rng.randrange(len(lines))
    match rng.randrange(8):
        case 0 if data:
            at = min(at, len(data) - 1)
            return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        case 1:
            return data[:at]
        case 2:
            return data[:at] + data[to:]
        case 3:
            return data[:at] + rng.choice(JUNK) + data[to if rng.random() < 0.3 else at :]
        case 4:
            return b"\n".join([*lines[:line], rng.choice(JUNK), *lines[line:]])
        case 5:
            return b"\n".join([*lines[:line], lines[line], *lines[line:]])
        case 6:
            head, mark, _ = lines[line].partition(rng.choice((b"=", b":", b" ")))
            return b"\n".join([*lines[:line], head + mark + b" " + _word(rng), *lines[line + 1 :]])
        case _:
            return data[:at] + data[to:] + data[at:to]


def _word(rng: random.Random) -> bytes:
    return rng.choice((rng.choice(JUNK), json.dumps(rng.choice(ODD)).encode()))


def _of_value(rng: random.Random, data: bytes) -> bytes:
    """Put another value, or another key, into a JSON text; what is none, or a text of lines, is damaged otherwise."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return _of_bytes(rng, data)
    places = list(_places(found))
    if not places:
        return json.dumps(rng.choice(ODD)).encode()
    holder, key = rng.choice(places)
    match rng.randrange(4):
        case 0 if isinstance(holder, dict):
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(("", "x", "\0", "__class__", key.upper(), f"{key} "))] = holder.pop(key)
        case 2 if isinstance(holder, list):
            holder.append(holder[key])
        case _:
            holder[key] = rng.choice(ODD)
    return json.dumps(found).encode("utf-8", "surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    todo = [value]
    while todo:
        each = todo.pop()
        inner = each.items() if isinstance(each, dict) else enumerate(each) if isinstance(each, list) else ()
        for key, below in inner:
            found.append((each, key))
            todo.append(below)
    return found
