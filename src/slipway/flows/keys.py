"""Who signs: the key pair that is made once, or the key or the CI's identity that `workspace.toml` names."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slipway.commands import cosign
from slipway.flows.standing import Ground
from slipway.model import trust
from slipway.model.errors import ConfigError, GateRefused, SlipwayError
from slipway.model.files import write_atomically
from slipway.model.masking import keep_secret
from slipway.model.reading import exists
from slipway.model.scratch import own_folder
from slipway.model.text import read_text
from slipway.model.trust import Key, Trust
from slipway.model.workspace import Workspace
from slipway.run.process import Result, run
from slipway.toolchain.locking import alone

SECONDS = 60.0
PASSWORD_BYTES = 32
ALONE: Mapping[str, str | None] = {"COSIGN_PASSWORD": None, "COSIGN_REPOSITORY": None}
"""cosign takes neither a password nor another place for signatures from the user's environment."""
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


@dataclass(frozen=True)
class Signer:
    """What to sign with: a key (a file's path or a KMS address) and its password; no key at all is keyless."""

    key: str | None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Made:
    """What was written: the public key that is now trusted, and the private one where that is new, too."""

    public: Path
    private: Path | None


def first_pair_due(workspace: Workspace, trusted: Trust, environment: Mapping[str, str]) -> bool:
    """Whether `invoke ship` makes the first key pair by itself: nobody is trusted yet, and a person is at work."""
    settings = workspace.settings.signing
    begun = _staging(workspace).is_dir()
    mine = settings.mode == "key" and not is_address(settings.key)
    return mine and trusted.empty and not environment.get("CI") and (begun or not key_file(workspace).exists())


def ensure_pair(ground: Ground, environment: Mapping[str, str]) -> Made | None:
    """Make the key pair where there is none, and see that its public half is trusted; nothing is overwritten.

    Returns:
        What was written, or None where all was there. A run that was killed is continued by the next one.

    Raises:
        ConfigError: the workspace signs without a key.
        GateRefused: the password is missing or is not the key's.
        SlipwayError: cosign failed.
    """
    workspace = ground.workspace
    signing = workspace.settings.signing
    if signing.mode == "keyless":
        raise ConfigError(
            f'{workspace.root / "workspace.toml"}: [signing] mode is "keyless", which has no keys',
            remedy='Name the CI\'s identity in policy/identities.toml, or write mode = "key".',
        )
    workspace.scratch.mkdir(exist_ok=True)
    with alone(workspace.scratch / "signing.lock", lambda: None):
        if not _staging(workspace).is_dir():
            if is_address(signing.key) or key_file(workspace).exists():
                return _publish(ground, _key_and_password(ground, environment))
            _generate(ground, environment)
        return _place(workspace)


def signer(ground: Ground, trusted: Trust, environment: Mapping[str, str]) -> Signer:
    """Return what to sign with, sure that those who verify will accept it.

    Raises:
        ConfigError: [signing] is wrong.
        GateRefused: the key or its password is missing or wrong, or policy/ does not trust it.
    """
    workspace = ground.workspace
    if workspace.settings.signing.mode == "keyless":
        if not trusted.identities:
            raise GateRefused(
                "the workspace signs keyless, but policy/ trusts no identity",
                remedy="Name the CI's identity in policy/identities.toml; policy/README.md shows how.",
            )
        return Signer(None)
    found = _key_and_password(ground, environment)
    mine = public_half(ground, found)
    if not trusted.key(mine.hint):
        raise GateRefused(
            f"the public half of {found.key} is not among policy/keys: what it signs would be refused",
            remedy="Run `invoke keys`, which writes it there, and have that change of policy/ reviewed and committed.",
        )
    return found


def public_half(ground: Ground, signer: Signer) -> Key:
    """Return the public half of a signer's key.

    Raises:
        GateRefused: the key cannot be read: it is damaged, or the password is wrong.
    """
    result = _cosign(ground, cosign.public_key(_program(ground), str(signer.key)), signer.password)
    found = _PEM.search(result.output)
    if result.code or not found:
        wrong = "decrypt" in result.output
        raise GateRefused(
            f"the signing key {signer.key} does not open{': its password is another one' if wrong else ''}",
            remedy=f"Correct {_source(ground.workspace)}, or make a new pair: move the key away, then `invoke keys`.",
            detail=result.tail(),
        )
    return trust.public_key(Path(str(signer.key)), found[0])


def is_address(key: str) -> bool:
    """Whether a key is one that cosign gets elsewhere: awskms://…, hashivault://…, k8s://…"""
    return "://" in key


def key_file(workspace: Workspace) -> Path:
    return workspace.root / Path(workspace.settings.signing.key).expanduser()


def _key_and_password(ground: Ground, environment: Mapping[str, str]) -> Signer:
    workspace = ground.workspace
    key = workspace.settings.signing.key
    if is_address(key):
        return Signer(key)
    if not key_file(workspace).is_file():
        raise GateRefused(
            f"the signing key {key_file(workspace)} is missing",
            remedy="Run `invoke keys` to make a pair and have its public half committed in policy/keys; in CI, put the "
            "key there from its secrets, or sign keyless.",
        )
    password = _password(workspace, environment)
    if password is None:
        raise GateRefused(
            f"the password of {key} is missing",
            remedy=f"Put it into {_source(workspace)}. A lost one cannot be recovered: move the key away, then "
            "`invoke keys` makes a pair.",
        )
    keep_secret(password)
    return Signer(str(key_file(workspace)), password)


def _password(workspace: Workspace, environment: Mapping[str, str]) -> str | None:
    """Return the key's password: the variable's where it is set, else the file's; None where there is none."""
    named = workspace.settings.signing.password
    if not named.file and not named.env:
        raise ConfigError(
            f"{workspace.root / 'workspace.toml'}: [signing] password names neither a `file` nor an `env`",
            remedy='Write password = { file = ".slipway/signing/password" } or { env = "NAME" }.',
        )
    given = environment.get(named.env) if named.env else None
    if given or not named.file:
        return given or None
    path = _password_file(workspace)
    return read_text(path).rstrip("\n") or None if exists(path) else None


def _password_file(workspace: Workspace) -> Path:
    return workspace.root / Path(str(workspace.settings.signing.password.file)).expanduser()


def _source(workspace: Workspace) -> str:
    named = workspace.settings.signing.password
    places = [f"the environment variable {named.env}"] if named.env else []
    return " or ".join([*places, str(_password_file(workspace))] if named.file else places)


def _staging(workspace: Workspace) -> Path:
    """Return the folder of a pair that is complete but not yet where it belongs."""
    return workspace.scratch / "signing.new"


def _generate(ground: Ground, environment: Mapping[str, str]) -> None:
    workspace = ground.workspace
    folder = own_folder(workspace.scratch) / "signing"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    password = _password(workspace, environment)
    if password is None:
        if not workspace.settings.signing.password.file:
            raise GateRefused(
                f"no password for the new key: {_source(workspace)} is not set", remedy="Set it, then run this again."
            )
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        keep_secret(password)
        write_atomically(folder / "password", password, mode=0o600)
    result = _cosign(ground, cosign.generate(_program(ground), folder / "cosign"), password)
    if result.code:
        raise SlipwayError("cosign made no key pair", detail=result.tail())
    folder.rename(_staging(workspace))


def _place(workspace: Workspace) -> Made:
    """Put a complete pair where it belongs, one file after the other, each of them whole."""
    staging = _staging(workspace)
    if (staging / "password").is_file():
        _put(_password_file(workspace), (staging / "password").read_text(encoding="utf-8"))
    _put(key_file(workspace), (staging / "cosign.key").read_text(encoding="utf-8"))
    public = _trust(workspace, trust.public_key(staging / "cosign.pub", (staging / "cosign.pub").read_text("utf-8")))
    shutil.rmtree(staging)
    return Made(public, key_file(workspace))


def _put(path: Path, text: str) -> None:
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, text, mode=0o600)


def _publish(ground: Ground, signer: Signer) -> Made | None:
    mine = public_half(ground, signer)
    if trust.load(ground.workspace.root).key(mine.hint):
        return None
    return Made(_trust(ground.workspace, mine), None)


def _trust(workspace: Workspace, key: Key) -> Path:
    """Write a public key among the trusted ones, under a name that two branches never give to different keys."""
    path = trust.keys_of(workspace.root) / f"{workspace.name}-{key.fingerprint[:8]}.pub"
    write_atomically(path, key.pem)
    return path


def _program(ground: Ground) -> Path:
    return ground.bin / "cosign"


def _cosign(ground: Ground, argv: list[str], password: str | None) -> Result:
    return run(argv, env={**ground.environment, **ALONE}, stdin=password, timeout=SECONDS)
