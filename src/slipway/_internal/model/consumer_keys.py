"""The keys of consumers: how one is made, and what a stack's encrypted configuration keeps of it: never the key."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

import msgspec

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.parsing import ParseError, parse_json

KEY_MARK = "slw_"
"""What keys start with, so that programs that look for lost secrets find them."""
KEY_BYTES = 32
MAX_KEYS = 2
"""The keys that a consumer may have: one, and while it is rotated the next one."""
_HASH = re.compile(r"[0-9a-f]{64}")


class ConsumerKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a key: its SHA-256 in hexadecimal, and when it was made."""

    sha256: str
    made: datetime


def new_key() -> str:
    """Return a new key."""
    return f"{KEY_MARK}{secrets.token_urlsafe(KEY_BYTES)}"


def hash_key(key: str) -> str:
    """Return what is kept of a key. It is random and long, so that nobody finds it by trying."""
    return hashlib.sha256(key.encode()).hexdigest()


def setting_of(consumer: str) -> str:
    """Return where a stack's configuration has a consumer's keys; no service can have that namespace."""
    return f"gateway:consumer.{consumer}"


def parse_keys(text: str | None, where: str) -> tuple[ConsumerKey, ...]:
    """Return the keys that a setting holds, the newest last; none where there is no setting.

    Args:
        text: the setting.
        where: the file and the setting's name, for messages.

    Raises:
        ConfigError: the text is none that Slipway wrote.
    """
    if text is None:
        return ()
    try:
        keys: tuple[ConsumerKey, ...] = parse_json(text, tuple[ConsumerKey, ...], unique=True)
    except ParseError as error:
        raise _unreadable(where, str(error)) from error
    if not 0 < len(keys) <= MAX_KEYS or not all(_HASH.fullmatch(key.sha256) for key in keys):
        raise _unreadable(where, f"it is no list of 1 to {MAX_KEYS} hashes")
    return keys


def keys_as_text(keys: Sequence[ConsumerKey]) -> str:
    """Return keys as `parse_keys` reads them."""
    return msgspec.json.encode(keys).decode()


def _unreadable(where: str, why: str) -> ConfigError:
    return ConfigError(
        f"{where} cannot be read: {why}",
        remedy="Restore the line from git, or remove the consumer's keys and add a new one.",
    )
