"""Masks known secrets in every text that leaves Slipway: terminal, logs, records, reports, errors.

Code that learns a secret's value calls `register_secret`; code that writes for people or into a log calls `mask`. A
value is also found when encoded (base64, URL, JSON, HTML), and each line of a value with several lines on its own.
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
MIN_SECRET_CHARACTERS = 4
"""The length from which a value is masked; shorter ones appear in other text by chance."""
MIN_SECRET_LINE_CHARACTERS = 8
"""The same for one line of a value with several, and for values of the environment."""
_CERTIFICATE = re.compile(r"-----BEGIN ((?:TRUSTED )?CERTIFICATE)-----.*?-----END \1-----", re.DOTALL)
_PEM_MARKER = re.compile(r"-----(?:BEGIN|END) [A-Z0-9 ]+-----")
_URL_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/@]+)@", re.IGNORECASE)
_SECRET_WORDS = "token|password|passwd|passphrase|secret|credential|api_?key|access_?key|_auth"  # noqa: S105
_SECRET_NAME = rf"[A-Za-z0-9_.:/-]*(?:{_SECRET_WORDS})[A-Za-z0-9_-]*"
_SECRET_ASSIGNMENT = re.compile(rf"""["']?{_SECRET_NAME}["']?\s*[:=]\s*["']?([^\s"',;]+)""", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(_SECRET_NAME, re.IGNORECASE)
_HARMLESS_VALUE = re.compile(r"(?:/|\.{1,2}/|~)[^\s]*|[a-z]+|[0-9]{1,7}")
"""Values of such variables that are not secret: a path, a word, a small number."""
_BASE64_WIDTHS = (76, 64)
"""Columns at which programs break base64: `base64`, PEM."""

_masked_forms: tuple[str, ...] = ()
"""Everything that is masked, the longest first."""
_registered_secrets: set[str] = set()
_registry_lock = threading.Lock()
_environment_read = False


def register_secret(value: str | None) -> None:
    """Mask a value from now on; one that is too short is not masked."""
    global _masked_forms  # noqa: PLW0603 - known to the whole process, or it would be forgotten somewhere
    if not value or value in _registered_secrets:
        return
    with _registry_lock:
        _registered_secrets.add(value)
        _masked_forms = tuple(sorted({*_masked_forms, *_forms_of(value)}, key=lambda form: (-len(form), form)))


def mask(text: str) -> str:
    """Return a text with all known secrets masked."""
    if not _environment_read:
        _read_environment()
    for form in _masked_forms:
        if form in text:
            text = text.replace(form, MASK)
    return text


def mask_all(value: Any) -> Any:
    """Return a JSON value with all known secrets masked in its texts."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {mask_all(key): mask_all(item) for key, item in value.items()}
    return [mask_all(item) for item in value] if isinstance(value, list | tuple) else value


class StreamMasker:
    """Masks secrets in a text that comes in parts, also those that span two parts."""

    def __init__(self) -> None:
        self._pending = ""

    def feed(self, part: str) -> str:
        """Take the next part; return the text that is safe to show so far."""
        text = mask(self._pending + part)
        withheld = _partial_match_length(text)
        self._pending = text[len(text) - withheld :]
        return text[: len(text) - withheld]

    def flush(self) -> str:
        """Return what was held back."""
        text, self._pending = mask(self._pending), ""
        return text


def forget_secrets() -> None:
    """Forget all secrets: for tests."""
    global _masked_forms, _environment_read  # noqa: PLW0603
    with _registry_lock:
        _registered_secrets.clear()
        _masked_forms = ()
        _environment_read = False


def _partial_match_length(text: str) -> int:
    """Return how many letters at the end of a text may be the beginning of a secret."""
    most = min(len(text), max((len(form) for form in _masked_forms), default=0) - 1)
    tails = (length for length in range(most, 0, -1) if any(form.startswith(text[-length:]) for form in _masked_forms))
    return next(tails, 0)


def _read_environment() -> None:
    global _environment_read  # noqa: PLW0603
    _environment_read = True
    for name, value in os.environ.items():
        if (
            _SECRET_VARIABLE.fullmatch(name)
            and len(value) >= MIN_SECRET_LINE_CHARACTERS
            and not _HARMLESS_VALUE.fullmatch(value)
        ):
            register_secret(value)
        for password in _URL_PASSWORD.findall(value):  # of a proxy, an engine, a state backend
            if len(password) >= MIN_SECRET_LINE_CHARACTERS or not _HARMLESS_VALUE.fullmatch(password):
                register_secret(password)
                register_secret(unquote(password))


def _forms_of(value: str) -> Iterator[str]:
    """Yield every form of a value to mask."""
    value = _CERTIFICATE.sub("", value).strip()  # certificates are public, and hundreds are in one file
    lines = [line.strip() for line in value.splitlines()]
    if len(value) >= MIN_SECRET_CHARACTERS:
        yield from _encodings_of(value)
    if len(lines) > 1:
        long = (line for line in lines if len(line) >= MIN_SECRET_LINE_CHARACTERS and not _PEM_MARKER.fullmatch(line))
        for line in long:
            yield from _encodings_of(line)
    for part in (*_URL_PASSWORD.findall(value), *_SECRET_ASSIGNMENT.findall(value)):
        if len(part) >= MIN_SECRET_CHARACTERS:
            yield from _encodings_of(part)
            yield from _encodings_of(unquote(part))


def _encodings_of(value: str) -> Iterable[str]:
    found = {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        html.escape(value),
        html.escape(value, quote=False),
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
        *_base64_forms(value.encode(errors="surrogateescape")),
    }
    return (form for form in found if len(form) >= MIN_SECRET_CHARACTERS)


def _base64_forms(data: bytes) -> Iterator[str]:
    """Yield how bytes look in base64 wherever in other bytes they stand, but for letters that those decide too."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        core = whole[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        if len(core) >= MIN_SECRET_LINE_CHARACTERS:
            yield core
            yield core.translate(str.maketrans("+/", "-_"))
        if not before:
            for width in _BASE64_WIDTHS:
                if len(core) > width:
                    yield from (core[at : at + width] for at in range(0, len(core) - MIN_SECRET_LINE_CHARACTERS, width))
