"""The one door to registries: what an image's digest is, what refers to it, tags, pushing, copying, deleting.

Registries on this machine's loopback address may speak plain HTTP and are asked without the environment's proxy;
all others are asked by HTTPS, with Docker's logins and the system's certificates. What is asked with a digest, and
what a digest is made of, is checked against the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from slipway.run.credentials import Purpose, config_in_environment
from slipway.run.oci import check, oci_digest
from slipway.run.registries.carry import Copied, Logins, copy, push, push_by_digest
from slipway.run.registries.door import Manifest, Referrer, Registry
from slipway.run.registries.names import DIGEST, FALLBACK, Ref, fallback_tag, parse
from slipway.run.registries.wire import AT_ONCE, SECONDS, certificates

__all__ = [
    "AT_ONCE",
    "DIGEST",
    "FALLBACK",
    "Copied",
    "Logins",
    "Manifest",
    "Ref",
    "Referrer",
    "Registry",
    "certificates",
    "check",
    "copy",
    "digests",
    "fallback_tag",
    "heads",
    "oci_digest",
    "open",
    "parse",
    "push",
    "push_by_digest",
]


def open(host: str, purpose: Purpose, seconds: float = SECONDS) -> Registry:
    """Return a registry, with the login for a purpose that the environment names (`credentials.export`).

    Raises:
        ConfigError: the environment names a folder without a Docker config.
    """
    return Registry(host, config_in_environment(purpose), seconds)


def digests(refs: Iterable[str]) -> dict[str, str | None]:
    """Return the digest of each image reference, or None where there is none; many are asked at once.

    Raises:
        ConfigError: something is no image reference.
        SlipwayError: a registry does not answer, or refuses.
    """
    return _each(refs, Registry.digest)


def heads(refs: Iterable[str]) -> dict[str, str | None]:
    """Return what a registry says the digest of each image reference is: one HEAD request each, unproven.

    Raises:
        ConfigError: something is no image reference.
        SlipwayError: a registry does not answer, or refuses.
    """
    return _each(refs, Registry.head)


def _each(refs: Iterable[str], ask: Callable[[Registry, str, str], str | None]) -> dict[str, str | None]:
    parts = {ref: parse(ref) for ref in refs}
    if not parts:
        return {}
    registries = {host: open(host, "pull") for host in {part.host for part in parts.values()}}
    with ThreadPoolExecutor(min(AT_ONCE, len(parts))) as pool:
        asked = {
            ref: pool.submit(ask, registries[part.host], part.repository, part.reference) for ref, part in parts.items()
        }
        try:
            return {ref: answer.result() for ref, answer in asked.items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
