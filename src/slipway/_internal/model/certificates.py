"""Reads a certificate with its chain, and says what is wrong with it, its key, or the hosts that it is for."""

from __future__ import annotations

import hashlib
import re
import ssl
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.hosts import ANY_HOST, WILDCARD

EXPIRES_SOON = timedelta(days=14)
MAX_CHAIN = 10
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]{1,65536}\n-----END CERTIFICATE-----")
_PRIVATE = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
ORDER_REMEDY = "Put the host's own certificate first, then the one of who issued it, and so on: `fullchain.pem`."


@dataclass(frozen=True)
class Certificate:
    """A certificate that may be used now.

    Attributes:
        pem: the host's own, then the chain of who issued it.
        names: the hosts that it is for; `*.example.com` for all names with one part more.
        begins: when it begins to be valid.
        ends: when it expires.
    """

    pem: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime

    @property
    def fingerprint(self) -> str:
        """The start of the SHA-256 of the host's own certificate, which everybody sees who connects."""
        first = ssl.PEM_cert_to_DER_cert(
            self.pem.partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----"
        )
        return hashlib.sha256(first).hexdigest()[:32]

    def covers(self, host: str) -> bool:
        """Whether clients take it for a host; for a wildcard, whether it has that name itself."""
        if host in self.names:
            return True
        _, _, parent = host.partition(".")
        return not host.startswith(WILDCARD) and bool(parent) and f"{WILDCARD}{parent}" in self.names


def parse_certificate(text: str, where: str) -> Certificate:
    """Return the certificate and chain of a PEM file.

    Args:
        text: what the file holds.
        where: the file, for errors.

    Raises:
        ConfigError: it is none, has a private key in it, or its chain is in another order.
    """
    text = text.replace("\r\n", "\n")
    if _PRIVATE.search(text):
        raise ConfigError(
            f"{where} has a private key in it: the certificate is readable in the gateway's configuration",
            remedy="Keep the key in a file of its own, or in the stack's encrypted configuration.",
        )
    blocks = _BLOCK.findall(text)
    if not blocks:
        raise ConfigError(f"{where} has no certificate in it", remedy="Name a PEM file: -----BEGIN CERTIFICATE-----.")
    if len(blocks) > MAX_CHAIN:
        raise ConfigError(f"{where} has {len(blocks)} certificates in it", remedy=ORDER_REMEDY)
    decoded = [_decode(block, f"{where}, certificate {number}") for number, block in enumerate(blocks, 1)]
    for number, (one, issuer) in enumerate(pairwise(decoded), 1):
        if one["issuer"] != issuer["subject"]:
            raise ConfigError(
                f"{where}: certificate {number + 1} is not of who issued certificate {number}", remedy=ORDER_REMEDY
            )
    own = decoded[0]
    return Certificate(
        "\n".join(blocks) + "\n",
        tuple(name.lower() for kind, name in own.get("subjectAltName", ()) if kind == "DNS"),
        _time(own["notBefore"]),
        _time(own["notAfter"]),
    )


def check_certificate(certificate: Certificate, hosts: Collection[str], where: str, now: datetime | None = None) -> str:
    """Return a warning about a certificate that expires soon; empty where there is none.

    Raises:
        ConfigError: it is not valid now, or is not for one of the hosts.
    """
    now = now or datetime.now(UTC)
    ends = f"{certificate.ends:%Y-%m-%d %H:%M} UTC"
    if now >= certificate.ends:
        raise ConfigError(f"{where} has expired, at {ends}", remedy="Have it renewed, and deploy again.")
    if now < certificate.begins:
        raise ConfigError(
            f"{where} is valid only from {certificate.begins:%Y-%m-%d %H:%M} UTC on",
            remedy="Deploy then, or look at this machine's clock.",
        )
    for host in sorted(hosts):
        if host != ANY_HOST and not certificate.covers(host):
            raise ConfigError(
                f"{where} is not for the host {host}: it is for {', '.join(certificate.names) or 'none'}",
                remedy="Have one issued that names each host of the stack and of its routes.",
            )
    left = certificate.ends - now
    return f"{where} expires in {max(left.days, 0)} days, at {ends}" if left <= EXPIRES_SOON else ""


def check_key(certificate: Certificate, key: str, where: str) -> None:
    """Refuse a private key that is not the certificate's.

    Raises:
        ConfigError: it is another one's, none, or needs a password.
    """

    def no_password() -> str:
        raise ConfigError(
            f"{where} needs a password, which nobody could type when the gateway starts",
            remedy="Store it without: `openssl pkey -in KEY`. Pulumi keeps it encrypted.",
        )

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="slipway-") as folder:  # only its owner may enter
        paths = _write(Path(folder), certificate.pem, key)
        try:
            context.load_cert_chain(paths[0], paths[1], password=no_password)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"{where} is not the private key of the certificate",
                remedy="Set the one that the certificate was issued for, as PEM: -----BEGIN PRIVATE KEY-----.",
            ) from error


def _write(folder: Path, *texts: str) -> Sequence[Path]:
    paths = [folder / f"{number}.pem" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.touch(0o600)
        path.write_text(text, encoding="utf-8")
    return paths


def _decode(block: str, where: str) -> dict[str, Any]:
    """Return what Python's own reader says of a certificate."""
    with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
        [path] = _write(Path(folder), block)
        try:
            decoded: dict[str, Any] = ssl._ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"{where} cannot be read", remedy="Have it written anew as PEM.") from error
    return decoded


def _time(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
