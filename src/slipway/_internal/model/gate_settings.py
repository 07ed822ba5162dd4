"""The gate's settings in `workspace.toml`: scan policy, signing, logins, retention, limits."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Severity = Literal["CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN"]
NonEmptyText = Annotated[str, Meta(min_length=1)]


class ScanException(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finding that is accepted for a time: its id (a CVE, or the rule of a secret or check), until when, and why."""

    id: NonEmptyText
    until: datetime.date
    reason: NonEmptyText
    services: tuple[str, ...] = ()


class ScanSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """What the scan refuses. `database` is an OCI reference to get the vulnerability database from, else Trivy's."""

    refuse: tuple[Severity, ...] = ("CRITICAL", "HIGH")
    ignore_unfixed: bool = True
    database: str | None = None
    exceptions: tuple[ScanException, ...] = ()


class PasswordSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a password comes from: a file's path or an environment variable's name."""

    file: str | None = None
    env: str | None = None


class SigningSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who signs: a private key (a file, or a KMS address as cosign has them), or the CI's identity (keyless)."""

    mode: Literal["key", "keyless"] = "key"
    key: str = ".slipway/signing/cosign.key"
    password: PasswordSource = PasswordSource(file=".slipway/signing/password")


class LoginSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Folders with a Docker config.json of their own, for pushing and for pulling; without one, the user's."""

    push: str | None = None
    pull: str | None = None


class RetentionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `invoke prune` keeps of each service besides what is needed: so many images, and those younger than days."""

    keep: Annotated[int, Meta(ge=0, le=1_000_000)] = 10
    days: Annotated[int, Meta(ge=0, le=36_500)] = 30


class GateLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the gate waits: seconds for one step of one service."""

    seconds: Annotated[int, Meta(ge=1, le=604_800)] = 900
