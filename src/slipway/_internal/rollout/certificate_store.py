"""What a gateway keeps of certificates that are issued for it: in a volume of its own, which outlives its container.

An authority issues few certificates a week for a host, so they must not go with a container. The files belong to root
and nobody else reads them: Envoy gets the key of the certificate that it serves as a file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway._internal.commands.gateway_options import TlsOptions
from slipway._internal.model.acme import CERTIFICATE, IssuedCertificate, parse_kept
from slipway._internal.model.errors import ConfigError
from slipway._internal.rollout import container_files

FOLDER = "/var/lib/slipway/acme"
"""Where the volume is in the gateway's container."""


def read_store(container: Any) -> dict[str, str]:
    """Return the text of each file of a gateway's store; the container need not run."""
    return container_files.read_folder(container, FOLDER)


def write_store(container: Any, files: Mapping[str, str]) -> None:
    """Write files of a gateway's store; an empty one is as good as none."""
    container_files.put_files(container, FOLDER, files, mode=0o400)


def read_issued(container: Any) -> IssuedCertificate | None:
    """Return the certificate that was issued last; None where there is none that can be read."""
    issued = parse_kept(read_store(container), CERTIFICATE, IssuedCertificate)
    try:
        return issued if issued and issued.parse() else None
    except ConfigError:
        return None


def tls_of(issued: IssuedCertificate, port: int) -> TlsOptions:
    """Return how a gateway serves a certificate; the name of the key's file is of this certificate alone.

    Args:
        issued: the certificate.
        port: the port that callers find it at.
    """
    certificate = issued.parse()
    return TlsOptions(certificate.pem, f"acme-{certificate.fingerprint}.key", port)
