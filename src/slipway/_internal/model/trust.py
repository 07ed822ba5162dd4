"""The signers that the workspace trusts: public keys and CI identities in `policy/`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.gate_settings import NonEmptyText
from slipway._internal.model.structured_files import read_toml
from slipway._internal.model.text import read_text

_PEM = re.compile(r"\s*-----BEGIN PUBLIC KEY-----\s+(?P<body>[A-Za-z0-9+/=\s]+?)\s+-----END PUBLIC KEY-----\s*")
DER_SEQUENCE = 0x30


@dataclass(frozen=True)
class PublicKey:
    """A trusted public key: its file, its text in PEM, and the SHA-256 of its DER form."""

    path: Path
    pem: str
    fingerprint: str

    @property
    def hint(self) -> str:
        """The hint by which cosign names the key in a signature."""
        return base64.b64encode(bytes.fromhex(self.fingerprint)).decode()


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True):
    """A trusted keyless identity: its issuer, and its subject in full or as a regular expression."""

    issuer: NonEmptyText
    subject: str | None = None
    subject_regexp: str | None = None

    @property
    def name(self) -> str:
        return f"{self.subject or self.subject_regexp} of {self.issuer}"


class IdentityFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`policy/identities.toml` as it stands."""

    identity: tuple[Identity, ...] = ()


@dataclass(frozen=True)
class TrustedSigners:
    """Everyone whose signature counts."""

    keys: tuple[PublicKey, ...] = ()
    identities: tuple[Identity, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.keys and not self.identities

    @property
    def digest(self) -> str:
        """SHA-256 over who is trusted; what the files are called is not in it."""
        signers = [
            sorted({key.fingerprint for key in self.keys}),
            sorted(json.dumps(msgspec.to_builtins(identity), sort_keys=True) for identity in self.identities),
        ]
        return hashlib.sha256(json.dumps(signers).encode()).hexdigest()

    def find_key(self, hint: str) -> PublicKey | None:
        """Return the trusted key that a signature says it was made with; None where that one is not trusted."""
        return next((key for key in self.keys if key.hint == hint), None)


def keys_folder(root: Path) -> Path:
    """Return the folder of trusted public keys."""
    return root / "policy" / "keys"


def identities_path(root: Path) -> Path:
    return root / "policy" / "identities.toml"


def load(root: Path) -> TrustedSigners:
    """Read `policy/keys/*.pub` and `policy/identities.toml`; where there are none, nobody is trusted.

    Raises:
        ConfigError: one of the files is not a public key, or names no identity.
    """
    keys = tuple(parse_public_key(path, read_text(path)) for path in sorted(keys_folder(root).glob("*.pub")))
    return TrustedSigners(keys, tuple(_read_identities(identities_path(root))))


def parse_public_key(path: Path, text: str) -> PublicKey:
    """Return the public key that a text in PEM holds.

    Raises:
        ConfigError: it holds something else, several keys, or a private key.
    """
    if "PRIVATE KEY" in text:
        raise ConfigError(
            f"{path} is a private key, and policy/ is in git",
            remedy="Move it out of the workspace, treat it as stolen if it was committed, and make a new one with "
            "`invoke keys`.",
        )
    match = _PEM.fullmatch(text)
    der = _decode_base64(match["body"]) if match else b""
    if der[:1] != bytes([DER_SEQUENCE]):
        raise ConfigError(
            f"{path} is not a public key",
            remedy="Put one key in PEM there (`-----BEGIN PUBLIC KEY-----`): "
            "`cosign public-key --key PRIVATE` prints it; `invoke keys` writes it.",
        )
    return PublicKey(path, f"{text.strip()}\n", hashlib.sha256(der).hexdigest())


def _decode_base64(body: str) -> bytes:
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error:
        return b""


def _read_identities(path: Path) -> Iterator[Identity]:
    if not path.is_file():
        return
    for number, identity in enumerate(read_toml(path, IdentityFile).identity, start=1):
        if bool(identity.subject) == bool(identity.subject_regexp):
            raise ConfigError(
                f"{path}: [[identity]] number {number} needs exactly one of `subject` and `subject-regexp`",
                remedy='Write subject = "https://github.com/OWNER/REPO/.github/workflows/ship.yaml@refs/heads/main".',
            )
        pattern = identity.subject_regexp
        if pattern and not (pattern.startswith("^") and pattern.endswith("$")):
            raise ConfigError(
                f"{path}: `subject-regexp` of [[identity]] number {number} is not anchored",
                remedy="Begin it with ^ and end it with $, or write the whole `subject`.",
            )
        yield identity
