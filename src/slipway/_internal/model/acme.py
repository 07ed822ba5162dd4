"""Certificates that an authority issues by ACME (RFC 8555): what is asked for, what is kept of it, and when it is due.

What is kept are a few small files. A private key among them is registered as a secret when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from slipway._internal.model.certificates import Certificate, parse_certificate
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.masking import register_secret

ACCOUNT, CERTIFICATE, ORDER, FAILURE = "account.json", "certificate.json", "order.json", "failure.json"
"""The names of the files. An empty one is as good as none."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=15), timedelta(days=1)
"""How long nothing is asked after a failure: twice as long after each, so that an authority never refuses for it."""
RENEWED_AFTER = 2 / 3
"""The part of its lifetime after which a certificate is renewed."""


@dataclass(frozen=True)
class AcmeSettings:
    """What a stack's settings ask for.

    Attributes:
        directory: the address where the authority lists what it offers.
        hosts: the names that the certificate is for.
        email: where the authority may write to; empty: nowhere.
        ca_file: the certificates to trust when the authority is asked; empty: the public ones.
    """

    directory: str
    hosts: tuple[str, ...]
    email: str = ""
    ca_file: str = ""


class _Kept(msgspec.Struct, frozen=True):
    """A file's content."""


class AcmeAccount(_Kept, frozen=True):
    """Who asks an authority: its directory, and the account's private key, PEM."""

    directory: str
    key: str


class PendingOrder(_Kept, frozen=True):
    """An order that was begun: where it is, what for, and the private key that the certificate will have, PEM."""

    directory: str
    hosts: tuple[str, ...]
    url: str
    key: str


class IssuedCertificate(_Kept, frozen=True):
    """What an authority issued: the certificate with its chain, and its private key, both PEM."""

    directory: str
    chain: str
    key: str

    def parse(self) -> Certificate:
        """Return the certificate.

        Raises:
            ConfigError: it cannot be read.
        """
        return parse_certificate(self.chain, "the certificate that was issued")


class AcmeFailure(_Kept, frozen=True):
    """An order that came to nothing.

    Attributes:
        directory, hosts: what was asked for.
        count: how many came to nothing in a row.
        until: nothing is asked before that time, in seconds since 1970, UTC.
        reason: what the authority said.
    """

    directory: str
    hosts: tuple[str, ...]
    count: int
    until: float
    reason: str

    def holds(self, settings: AcmeSettings, now: datetime) -> bool:
        """Whether the same must not be asked for yet; a clock that was put back does not make it hold for longer."""
        same = (self.directory, self.hosts) == (settings.directory, settings.hosts)
        return same and now.timestamp() < self.until < (now + 8 * LONGEST_PAUSE).timestamp()

    @property
    def ends(self) -> str:
        """The time from which on the same may be asked for."""
        return f"{datetime.fromtimestamp(self.until, UTC):%Y-%m-%d %H:%M} UTC"


K = TypeVar("K", bound=_Kept)


def parse_kept(files: Mapping[str, str], name: str, kind: type[K]) -> K | None:
    """Return what a file holds; None where there is none, or a killed run has left half of it.

    Args:
        files: name → text.
        name: the file's name.
        kind: what it holds.
    """
    try:
        found = msgspec.json.decode(files.get(name, ""), type=kind)
    except (msgspec.DecodeError, RecursionError):
        return None
    register_secret(getattr(found, "key", None))
    return found


def as_file(kept: _Kept) -> str:
    """Return the text of a file that holds this."""
    return msgspec.json.encode(kept).decode()


def next_failure(
    before: AcmeFailure | None, settings: AcmeSettings, reason: str, now: datetime, retry_after: float = 0
) -> AcmeFailure:
    """Return the failure to keep.

    Args:
        before: the one before, if the last order failed, too.
        settings: what was asked for.
        reason: what the authority said.
        now: the time.
        retry_after: seconds for which the authority asked to be left alone.
    """
    same = before and (before.directory, before.hosts) == (settings.directory, settings.hosts)
    count = before.count + 1 if before and same else 1
    pause = min(FIRST_PAUSE * 2 ** min(count - 1, 16), LONGEST_PAUSE)
    asked = timedelta(seconds=min(max(retry_after, 0), 7 * LONGEST_PAUSE.total_seconds()))
    return AcmeFailure(settings.directory, settings.hosts, count, (now + max(pause, asked)).timestamp(), reason[:1000])


def renewal_time(certificate: Certificate) -> datetime:
    """Return when a certificate is to be renewed."""
    return certificate.begins + (certificate.ends - certificate.begins) * RENEWED_AFTER


def why_to_issue(issued: IssuedCertificate | None, settings: AcmeSettings, now: datetime) -> str:
    """Return why another certificate is needed, as the end of a sentence; empty where the one that there is will do."""
    if issued is None:
        return "there is none yet"
    try:
        certificate = issued.parse()
    except ConfigError:
        return "the one that there is cannot be read"
    if issued.directory != settings.directory:
        return f"the one that there is was issued by {issued.directory}"
    missing = [host for host in settings.hosts if host not in certificate.names]
    if missing:
        return f"the one that there is is not for {', '.join(missing)}"
    if now >= renewal_time(certificate):
        return f"the one that there is ends at {certificate.ends:%Y-%m-%d %H:%M} UTC"
    return ""


def is_usable(issued: IssuedCertificate | None, settings: AcmeSettings, now: datetime) -> bool:
    """Whether a certificate can be served, be it due for renewal or not."""
    if issued is None or issued.directory != settings.directory:
        return False
    try:
        certificate = issued.parse()
    except ConfigError:
        return False
    return certificate.begins <= now < certificate.ends and all(map(certificate.covers, settings.hosts))
