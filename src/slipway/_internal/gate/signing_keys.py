"""The signer: a key pair that is made once, or the key or CI identity that `workspace.toml` names."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slipway._internal.commands import cosign
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import trust
from slipway._internal.model.errors import ConfigError, GateRefused, SlipwayError
from slipway._internal.model.files import write_atomically
from slipway._internal.model.masking import register_secret
from slipway._internal.model.scratch import process_folder
from slipway._internal.model.structured_files import path_exists
from slipway._internal.model.text import read_text
from slipway._internal.model.trust import PublicKey, TrustedSigners
from slipway._internal.model.workspace import Workspace
from slipway._internal.run.process import ProcessResult, run
from slipway._internal.toolchain.locking import file_lock

COSIGN_SECONDS = 60.0
PASSWORD_BYTES = 32
ISOLATED_ENVIRONMENT: Mapping[str, str | None] = {"COSIGN_PASSWORD": None, "COSIGN_REPOSITORY": None}
"""cosign takes neither a password nor another place for signatures from the user's environment."""
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


@dataclass(frozen=True)
class Signer:
    """What to sign with: a key (a file's path or a KMS address) and its password; no key at all is keyless."""

    key: str | None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class KeyFiles:
    """What was written: the public key that is now trusted, and the private one where that is new, too."""

    public: Path
    private: Path | None


def is_first_pair_due(workspace: Workspace, trusted: TrustedSigners, environment: Mapping[str, str]) -> bool:
    """Whether `invoke ship` makes the first key pair by itself: nobody is trusted yet, and a person is at work."""
    settings = workspace.settings.signing
    is_staged = _staging_folder(workspace).is_dir()
    makes_own_key = settings.mode == "key" and not is_remote_key(settings.key)
    return (
        makes_own_key
        and trusted.is_empty
        and not environment.get("CI")
        and (is_staged or not key_file(workspace).exists())
    )


def ensure_key_pair(context: RunContext, environment: Mapping[str, str]) -> KeyFiles | None:
    """Make the key pair where there is none, and see that its public half is trusted; nothing is overwritten.

    Returns:
        What was written, or None where all was there. A run that was killed is continued by the next one.

    Raises:
        ConfigError: the workspace signs without a key.
        GateRefused: the password is missing or is not the key's.
        SlipwayError: cosign failed.
    """
    workspace = context.workspace
    signing = workspace.settings.signing
    if signing.mode == "keyless":
        raise ConfigError(
            f'{workspace.root / "workspace.toml"}: [signing] mode is "keyless", which has no keys',
            remedy='Name the CI\'s identity in policy/identities.toml, or write mode = "key".',
        )
    workspace.scratch.mkdir(exist_ok=True)
    with file_lock(workspace.scratch / "signing.lock", lambda: None):
        if not _staging_folder(workspace).is_dir():
            if is_remote_key(signing.key) or key_file(workspace).exists():
                return _trust_public_key(context, _signer_from_key(context, environment))
            _generate_pair(context, environment)
        return _install_pair(workspace)


def load_signer(context: RunContext, trusted: TrustedSigners, environment: Mapping[str, str]) -> Signer:
    """Return what to sign with, sure that those who verify will accept it.

    Raises:
        ConfigError: [signing] is wrong.
        GateRefused: the key or its password is missing or wrong, or policy/ does not trust it.
    """
    workspace = context.workspace
    if workspace.settings.signing.mode == "keyless":
        if not trusted.identities:
            raise GateRefused(
                "the workspace signs keyless, but policy/ trusts no identity",
                remedy="Name the CI's identity in policy/identities.toml; policy/README.md shows how.",
            )
        return Signer(None)
    signer = _signer_from_key(context, environment)
    public_key = read_public_key(context, signer)
    if not trusted.find_key(public_key.hint):
        raise GateRefused(
            f"the public half of {signer.key} is not among policy/keys: what it signs would be refused",
            remedy="Run `invoke keys`, which writes it there, and have that change of policy/ reviewed and committed.",
        )
    return signer


def read_public_key(context: RunContext, signer: Signer) -> PublicKey:
    """Return the public half of a signer's key.

    Raises:
        GateRefused: the key cannot be read: it is damaged, or the password is wrong.
    """
    result = _run_cosign(context, cosign.public_key(_cosign_path(context), str(signer.key)), signer.password)
    match = _PEM.search(result.output)
    if result.code or not match:
        wrong_password = "decrypt" in result.output
        raise GateRefused(
            f"the signing key {signer.key} cannot be opened{': its password is another one' if wrong_password else ''}",
            remedy=f"Correct {_password_source(context.workspace)}, or make a new pair: move the key away, then "
            "`invoke keys`.",
            detail=result.tail(),
        )
    return trust.parse_public_key(Path(str(signer.key)), match[0])


def is_remote_key(key: str) -> bool:
    """Whether a key is one that cosign gets elsewhere: awskms://…, hashivault://…, k8s://…"""
    return "://" in key


def key_file(workspace: Workspace) -> Path:
    return workspace.root / Path(workspace.settings.signing.key).expanduser()


def _signer_from_key(context: RunContext, environment: Mapping[str, str]) -> Signer:
    workspace = context.workspace
    key = workspace.settings.signing.key
    if is_remote_key(key):
        return Signer(key)
    if not key_file(workspace).is_file():
        raise GateRefused(
            f"the signing key {key_file(workspace)} is missing",
            remedy="Run `invoke keys` to make a pair and have its public half committed in policy/keys; in CI, put the "
            "key there from its secrets, or sign keyless.",
        )
    password = _read_password(workspace, environment)
    if password is None:
        raise GateRefused(
            f"the password of {key} is missing",
            remedy=f"Put it into {_password_source(workspace)}. A lost one cannot be recovered: move the key away, "
            "then "
            "`invoke keys` makes a pair.",
        )
    register_secret(password)
    return Signer(str(key_file(workspace)), password)


def _read_password(workspace: Workspace, environment: Mapping[str, str]) -> str | None:
    """Return the key's password: the variable's where it is set, else the file's; None where there is none."""
    source = workspace.settings.signing.password
    if not source.file and not source.env:
        raise ConfigError(
            f"{workspace.root / 'workspace.toml'}: [signing] password names neither a `file` nor an `env`",
            remedy='Write password = { file = ".slipway/signing/password" } or { env = "NAME" }.',
        )
    value = environment.get(source.env) if source.env else None
    if value or not source.file:
        return value or None
    path = _password_file(workspace)
    return read_text(path).rstrip("\n") or None if path_exists(path) else None


def _password_file(workspace: Workspace) -> Path:
    return workspace.root / Path(str(workspace.settings.signing.password.file)).expanduser()


def _password_source(workspace: Workspace) -> str:
    source = workspace.settings.signing.password
    sources = [f"the environment variable {source.env}"] if source.env else []
    return " or ".join([*sources, str(_password_file(workspace))] if source.file else sources)


def _staging_folder(workspace: Workspace) -> Path:
    """Return the folder of a pair that is complete but not yet where it belongs."""
    return workspace.scratch / "signing.new"


def _generate_pair(context: RunContext, environment: Mapping[str, str]) -> None:
    workspace = context.workspace
    folder = process_folder(workspace.scratch) / "signing"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    password = _read_password(workspace, environment)
    if password is None:
        if not workspace.settings.signing.password.file:
            raise GateRefused(
                f"no password for the new key: {_password_source(workspace)} is not set",
                remedy="Set it, then run this again.",
            )
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        register_secret(password)
        write_atomically(folder / "password", password, mode=0o600)
    result = _run_cosign(context, cosign.generate_key_pair(_cosign_path(context), folder / "cosign"), password)
    if result.code:
        raise SlipwayError("cosign made no key pair", detail=result.tail())
    folder.rename(_staging_folder(workspace))


def _install_pair(workspace: Workspace) -> KeyFiles:
    """Put a complete pair where it belongs, one file after the other, each of them whole."""
    staging = _staging_folder(workspace)
    if (staging / "password").is_file():
        _write_if_missing(_password_file(workspace), (staging / "password").read_text(encoding="utf-8"))
    _write_if_missing(key_file(workspace), (staging / "cosign.key").read_text(encoding="utf-8"))
    public = _write_trusted_key(
        workspace, trust.parse_public_key(staging / "cosign.pub", (staging / "cosign.pub").read_text("utf-8"))
    )
    shutil.rmtree(staging)
    return KeyFiles(public, key_file(workspace))


def _write_if_missing(path: Path, text: str) -> None:
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, text, mode=0o600)


def _trust_public_key(context: RunContext, signer: Signer) -> KeyFiles | None:
    public_key = read_public_key(context, signer)
    if trust.load(context.workspace.root).find_key(public_key.hint):
        return None
    return KeyFiles(_write_trusted_key(context.workspace, public_key), None)


def _write_trusted_key(workspace: Workspace, key: PublicKey) -> Path:
    """Write a public key among the trusted ones, under a name that two branches never give to different keys."""
    path = trust.keys_folder(workspace.root) / f"{workspace.name}-{key.fingerprint[:8]}.pub"
    write_atomically(path, key.pem)
    return path


def _cosign_path(context: RunContext) -> Path:
    return context.bin / "cosign"


def _run_cosign(context: RunContext, argv: list[str], password: str | None) -> ProcessResult:
    return run(argv, env={**context.environment, **ISOLATED_ENVIRONMENT}, stdin=password, timeout=COSIGN_SECONDS)
