"""Has a gateway's certificate issued by ACME where it is due, as rarely as that can be.

A good certificate is never asked for again. What a killed run began, the next one ends. After a failure nothing is
asked for a while, whoever runs this, because an authority counts failures, and who looks after each is a person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from slipway._internal.model import acme as kept
from slipway._internal.model.acme import (
    AcmeAccount,
    AcmeFailure,
    AcmeSettings,
    IssuedCertificate,
    PendingOrder,
    as_file,
    parse_kept,
)
from slipway._internal.model.certificates import Certificate, check_certificate, check_key, parse_certificate
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.masking import register_secret
from slipway._internal.run.acme import AcmeClient, AcmeError, new_key

Say = Callable[[str], None]
AGAIN_REMEDY = "Put right what it says, and have it asked again at once."


class IssuingGateway(Protocol):
    """A gateway that has its certificates issued."""

    def read_store(self) -> Mapping[str, str]:
        """Return the files of its store."""

    def write_store(self, files: Mapping[str, str]) -> None:
        """Write files of its store; an empty one is as good as none."""

    def answer(self, challenges: Mapping[str, str]) -> None:
        """Answer challenges, token → key authorization, and no others; return once it does."""

    def serve(self, issued: IssuedCertificate) -> None:
        """Serve a certificate; return once it does."""

    def serves(self, issued: IssuedCertificate) -> bool:
        """Whether it serves that certificate."""


class NotIssued(SlipwayError):
    """A certificate is due, and there is none.

    Attributes:
        usable: whether an earlier one still serves all hosts.
    """

    usable = False


@dataclass(frozen=True)
class IssueResult:
    """The certificate that is served, and whether it was issued just now."""

    certificate: Certificate
    issued: bool


def ensure_certificate(
    settings: AcmeSettings, gateway: IssuingGateway, say: Say, *, now: datetime | None = None, again: bool = False
) -> IssueResult:
    """Have a certificate issued if one is due, and served.

    Args:
        settings: the authority and the hosts.
        gateway: the gateway, which answers the authority.
        say: told what is done.
        now: what this machine's clock says.
        again: ask although a failure is not long ago.

    Raises:
        NotIssued: the authority did not issue it, or is not asked yet after a failure. What is served stays.
    """
    now = now or datetime.now(UTC)
    files = gateway.read_store()
    issued = parse_kept(files, kept.CERTIFICATE, IssuedCertificate)
    reason = kept.why_to_issue(issued, settings, now)
    if issued and not reason:
        if not gateway.serves(issued):  # a run was killed between the two
            gateway.serve(issued)
        return IssueResult(issued.parse(), issued=False)
    usable = kept.is_usable(issued, settings, now)
    failure = parse_kept(files, kept.FAILURE, AcmeFailure)
    if failure and failure.holds(settings, now) and not again:
        raise _not_issued(
            f"no certificate was issued for {', '.join(settings.hosts)}: {failure.reason} "
            f"(tried {failure.count} times; not again before {failure.ends})",
            AGAIN_REMEDY,
            usable=usable,
        )
    say(f"Having a certificate issued for {', '.join(settings.hosts)}: {reason}.")
    try:
        found = _issue(settings, gateway, files, now)
    except AcmeError as error:
        if error.counts:
            remembered = kept.next_failure(failure, settings, error.message, now, error.retry_after)
            gateway.write_store({kept.FAILURE: as_file(remembered)})
        raise _not_issued(error.message, error.remedy, usable=usable) from error
    gateway.write_store({kept.CERTIFICATE: as_file(found), kept.ORDER: "", kept.FAILURE: ""})
    gateway.serve(found)
    return IssueResult(found.parse(), issued=True)


def _not_issued(message: str, remedy: str, *, usable: bool) -> NotIssued:
    error = NotIssued(message, remedy=remedy)
    error.usable = usable
    return error


def _issue(
    settings: AcmeSettings, gateway: IssuingGateway, files: Mapping[str, str], now: datetime
) -> IssuedCertificate:
    """Return a certificate that was issued just now. Each key is kept before anything is asked for with it."""
    account = parse_kept(files, kept.ACCOUNT, AcmeAccount)
    if account is None or account.directory != settings.directory:
        account = AcmeAccount(settings.directory, _new_secret())
        gateway.write_store({kept.ACCOUNT: as_file(account)})
    client = AcmeClient.open(settings, account.key, now)
    before = parse_kept(files, kept.ORDER, PendingOrder)
    order = None
    if before and (before.directory, before.hosts) == (settings.directory, settings.hosts):
        key, order = before.key, client.resume_order(before.url, before.key)
    if order is None:
        key = _new_secret()
        order = client.begin_order(key)
        gateway.write_store(
            {kept.ORDER: as_file(PendingOrder(settings.directory, settings.hosts, str(order.uri), key))}
        )
    try:
        chain = client.finish_order(order, gateway.answer)
    finally:
        gateway.answer({})
    return _checked(IssuedCertificate(settings.directory, chain, key), settings)


def _checked(issued: IssuedCertificate, settings: AcmeSettings) -> IssuedCertificate:
    """Refuse what an authority should not have issued: served, it would fail whoever comes."""
    where = f"the certificate that {settings.directory} issued"
    try:
        certificate = parse_certificate(issued.chain, where)
        check_certificate(certificate, settings.hosts, where)
        check_key(certificate, issued.key, f"{where}: its key")
    except ConfigError as error:
        raise AcmeError(error.message, remedy="It is not served. Ask who keeps the authority.") from error
    return IssuedCertificate(issued.directory, certificate.pem, issued.key)


def _new_secret() -> str:
    key = new_key()
    register_secret(key)
    return key
