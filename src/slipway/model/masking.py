"""Strikes known secrets out of every text that goes out: terminal, logs, records, reports, errors.

Whoever comes to know a secret's value says so with `keep_secret`. Whoever writes text for people or into a log asks
`mask`. A value is also found encoded (base64, URL, JSON, HTML), and of one with several lines each line is.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote

MASK = "***"
SHORTEST = 4
"""Letters of a value that is struck out; shorter ones stand in every other line by chance."""
SHORTEST_LINE = 8
"""Letters of one line of a value that has several, and of a value in the environment."""
_CERTIFICATE = re.compile(r"-----BEGIN ((?:TRUSTED )?CERTIFICATE)-----.*?-----END \1-----", re.DOTALL)
_ARMOUR = re.compile(r"-----(?:BEGIN|END) [A-Z0-9 ]+-----")
_USER_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/@]+)@", re.IGNORECASE)
_NAMES = "token|password|passwd|passphrase|secret|credential|api_?key|access_?key|_auth"
_NAMED = rf"[A-Za-z0-9_.:/-]*(?:{_NAMES})[A-Za-z0-9_-]*"
_SETTING = re.compile(rf"""["']?{_NAMED}["']?\s*[:=]\s*["']?([^\s"',;]+)""", re.IGNORECASE)
_VARIABLE = re.compile(_NAMED, re.IGNORECASE)
_NO_SECRET = re.compile(r"(?:/|\.{1,2}/|~)[^\s]*|[a-z]+|[0-9]{1,7}")
"""What a variable with such a name may hold that is none: a path, a word, a small number."""
_WIDTHS = (76, 64)
"""Columns at which programs break base64: `base64`, PEM."""

_pieces: tuple[str, ...] = ()
"""Everything that is struck out, the longest first."""
_kept: set[str] = set()
_one = threading.Lock()
_environment_read = False


def keep_secret(value: str | None) -> None:
    """Strike a value out of whatever goes out from now on; one that is too short is left alone."""
    global _pieces  # noqa: PLW0603 - known to the whole process, or it would be forgotten somewhere
    if not value or value in _kept:
        return
    with _one:
        _kept.add(value)
        _pieces = tuple(sorted({*_pieces, *_forms_of(value)}, key=lambda each: (-len(each), each)))


def mask(text: str) -> str:
    """Return a text with all known secrets struck out."""
    if not _environment_read:
        _read_environment()
    for piece in _pieces:
        if piece in text:
            text = text.replace(piece, MASK)
    return text


def mask_all(value: Any) -> Any:
    """Return what JSON can hold with all known secrets struck out of its texts."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {mask_all(key): mask_all(each) for key, each in value.items()}
    return [mask_all(each) for each in value] if isinstance(value, list | tuple) else value


class MaskedStream:
    """Strikes secrets out of a text that comes in parts, also those that lie across a border."""

    def __init__(self) -> None:
        self._left = ""

    def feed(self, part: str) -> str:
        """Take the next part; return what can be told of the text so far."""
        text = mask(self._left + part)
        held = _unfinished(text)
        self._left = text[len(text) - held :]
        return text[: len(text) - held]

    def end(self) -> str:
        """Return what was held back."""
        text, self._left = mask(self._left), ""
        return text


def forget_all() -> None:
    """Know no secret any more: for tests."""
    global _pieces, _environment_read  # noqa: PLW0603
    with _one:
        _kept.clear()
        _pieces = ()
        _environment_read = False


def _unfinished(text: str) -> int:
    """Return how many letters at the end of a text may be the beginning of a secret."""
    most = min(len(text), max((len(piece) for piece in _pieces), default=0) - 1)
    tails = (length for length in range(most, 0, -1) if any(piece.startswith(text[-length:]) for piece in _pieces))
    return next(tails, 0)


def _read_environment() -> None:
    global _environment_read  # noqa: PLW0603
    _environment_read = True
    for name, value in os.environ.items():
        if _VARIABLE.fullmatch(name) and len(value) >= SHORTEST_LINE and not _NO_SECRET.fullmatch(value):
            keep_secret(value)
        for password in _USER_PASSWORD.findall(value):  # of a proxy, an engine, a state backend
            if len(password) >= SHORTEST_LINE or not _NO_SECRET.fullmatch(password):
                keep_secret(password)
                keep_secret(unquote(password))


def _forms_of(value: str) -> Iterator[str]:
    """Yield all that is to be struck out for a value."""
    value = _CERTIFICATE.sub("", value).strip()  # certificates are public, and hundreds are in one file
    lines = [line.strip() for line in value.splitlines()]
    if len(value) >= SHORTEST:
        yield from _encoded(value)
    if len(lines) > 1:
        long = (line for line in lines if len(line) >= SHORTEST_LINE and not _ARMOUR.fullmatch(line))
        for line in long:
            yield from _encoded(line)
    for part in (*_USER_PASSWORD.findall(value), *_SETTING.findall(value)):
        if len(part) >= SHORTEST:
            yield from _encoded(part)
            yield from _encoded(unquote(part))


def _encoded(value: str) -> Iterable[str]:
    found = {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        html.escape(value),
        html.escape(value, quote=False),
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
        *_in_base64(value.encode(errors="surrogateescape")),
    }
    return (form for form in found if len(form) >= SHORTEST)


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield how bytes look in base64 wherever in other bytes they stand, but for letters that those decide too."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        core = whole[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        if len(core) >= SHORTEST_LINE:
            yield core
            yield core.translate(str.maketrans("+/", "-_"))
        if not before:
            for width in _WIDTHS:
                if len(core) > width:
                    yield from (core[at : at + width] for at in range(0, len(core) - SHORTEST_LINE, width))
