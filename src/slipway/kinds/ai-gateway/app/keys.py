"""Tenants' keys. The gateway knows only their hashes: `python3 -m app.keys TENANT[/SERVICE]` makes a key and its line.

The secret TENANT_KEYS has a line for each key: `TENANT[/SERVICE] sha256:HASH`. A tenant may have several: a new one is
added and given to callers before the old one's line goes. A key has 256 random bits, so a fast hash is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sys
from typing import NamedTuple

LINE = re.compile(r"([a-z0-9._-]+)(?:/([a-z0-9._-]+))?\s+sha256:([0-9a-f]{64})")


class Caller(NamedTuple):
    """Whose key a request has: a tenant, and the service of theirs that the key was made for."""

    tenant: str
    service: str


class Key(NamedTuple):
    """A key's hash and its holder."""

    caller: Caller
    digest: str


def parse_keys(text: str) -> list[Key]:
    """Return the keys that the secret names.

    Raises:
        ValueError: a line is not one; the message has its number, never the line.
    """
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line.strip())
        if not match:
            raise ValueError(f"line {number} is not `TENANT[/SERVICE] sha256:HASH`")
        found.append(Key(Caller(match[1], match[2] or "-"), match[3]))
    return found


def find_caller(keys: list[Key], header: str | None) -> Caller | None:
    """Return whose key an Authorization header has; each is compared in constant time, and all of them."""
    scheme, _, key = (header or "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    digest = _digest(key.strip())
    matching = [each.caller for each in keys if hmac.compare_digest(each.digest, digest)]
    return matching[0] if matching else None


def is_key(expected: str, header: str | None) -> bool:
    """Whether an Authorization header has one certain key."""
    return bool(expected) and find_caller([Key(Caller("", ""), _digest(expected))], header) is not None


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def main(arguments: list[str]) -> None:
    """Print a new key, for the caller alone, and the line for the secret."""
    holder = arguments[0] if len(arguments) == 1 else ""
    key = f"sk-{secrets.token_urlsafe(32)}"
    line = f"{holder} sha256:{_digest(key)}"
    if not LINE.fullmatch(line):
        raise SystemExit("usage: python3 -m app.keys TENANT[/SERVICE]")
    print(f"for the caller, shown once: {key}\nadd to TENANT_KEYS:         {line}")


if __name__ == "__main__":
    main(sys.argv[1:])
