"""Who is trusted is read from policy/, and whatever is wrong there is found by file and remedy."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from slipway._internal.model import trust
from slipway._internal.model.errors import ConfigError

DER = bytes([0x30, 3, 2, 1, 1])
OTHER = bytes([0x30, 3, 2, 1, 2])
IDENTITY = """\
[[identity]]
issuer = "https://token.actions.githubusercontent.com"
subject = "https://github.com/acme/shop/.github/workflows/ship.yaml@refs/heads/main"
"""


def pem(der: bytes, label: str = "PUBLIC KEY") -> str:
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {label}-----\n"


def policy(root: Path, identities: str = "", **keys: str) -> Path:
    folder = trust.keys_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in keys.items():
        (folder / f"{name}.pub").write_text(text, encoding="utf-8")
    if identities:
        trust.identities_path(root).write_text(identities, encoding="utf-8")
    return root


def test_without_a_policy_nobody_is_trusted(tmp_path: Path) -> None:
    assert trust.load(tmp_path).is_empty


def test_keys_and_identities_are_read(tmp_path: Path) -> None:
    found = trust.load(policy(tmp_path, IDENTITY, b=pem(OTHER), a=pem(DER)))
    assert [key.path.name for key in found.keys] == ["a.pub", "b.pub"]
    assert found.keys[0].fingerprint == hashlib.sha256(DER).hexdigest()
    assert found.identities[0].issuer == "https://token.actions.githubusercontent.com"
    assert not found.is_empty


def test_a_signatures_hint_finds_its_key(tmp_path: Path) -> None:
    found = trust.load(policy(tmp_path, a=pem(DER), b=pem(OTHER)))
    hint = base64.b64encode(hashlib.sha256(OTHER).digest()).decode()
    assert found.find_key(hint) == found.keys[1]
    assert found.find_key("") is None


def test_the_digest_is_of_who_is_trusted_not_of_what_the_files_are_called(tmp_path: Path) -> None:
    one = trust.load(policy(tmp_path / "one", IDENTITY, a=pem(DER), b=pem(OTHER))).digest
    renamed = trust.load(policy(tmp_path / "two", IDENTITY, z=pem(DER), y=f"\n{pem(OTHER)}\n")).digest
    fewer = trust.load(policy(tmp_path / "three", IDENTITY, a=pem(DER))).digest
    keyless = trust.load(policy(tmp_path / "four", IDENTITY.replace("main", "dev"), a=pem(DER), b=pem(OTHER))).digest
    assert one == renamed
    assert len({one, fewer, keyless}) == 3


@pytest.mark.parametrize(
    "text",
    ["", "ssh-ed25519 AAAA me", pem(b"no key"), pem(DER) + pem(OTHER), pem(DER).replace("MAM", "!!!"), pem(DER, "X")],
)
def test_what_is_no_public_key_is_refused_by_its_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"mine\.pub is not a public key") as caught:
        trust.load(policy(tmp_path, mine=text))
    assert "invoke keys" in caught.value.remedy


def test_a_private_key_among_the_public_ones_is_an_alarm(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine\.pub is a private key") as caught:
        trust.load(policy(tmp_path, mine=pem(DER, "ENCRYPTED SIGSTORE PRIVATE KEY")))
    assert "stolen" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[identity]]\nissuer = 'https://i'\n", "exactly one of"),
        (IDENTITY + "subject-regexp = '^x$'\n", "exactly one of"),
        ("[[identity]]\nissuer = 'https://i'\nsubject-regexp = 'github.com/acme'\n", "is not anchored"),
        ("[[identity]]\nsubject = 'me'\n", "issuer"),
        ("[[identity]]\nissuer = ''\nsubject = 'me'\n", "identity"),
        (IDENTITY + "subjects = 'x'\n", "subjects"),
        ("[identities]\n", "unknown key `identities`"),
        ("[[identity]\n", "not valid TOML"),
    ],
)
def test_a_wrong_identity_is_refused_by_file_and_key(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        trust.load(policy(tmp_path, text))
    assert "identities.toml" in caught.value.message
    assert caught.value.remedy


def test_the_identities_that_a_workspace_begins_with_trust_nobody() -> None:
    from tests.conftest import TEMPLATE

    assert trust.load(TEMPLATE).is_empty
    shown = trust.identities_path(TEMPLATE).read_text(encoding="utf-8")
    assert "# [[identity]]" in shown
