"""The client for registries: digests, referrers, tags, pushing, copying, deleting.

Registries on this machine's loopback address may speak plain HTTP and are asked without the environment's proxy;
all others are asked by HTTPS, with Docker's logins and the system's certificates. What is asked with a digest, and
what a digest is made of, is checked against the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from slipway._internal.model.workspace import Workspace
from slipway._internal.run.credentials import LoginPurpose, login_config_of
from slipway._internal.run.oci import oci_digest, verify_layout
from slipway._internal.run.registries.client import Manifest, Referrer, Registry
from slipway._internal.run.registries.http import MAX_CONCURRENT_REQUESTS, REQUEST_SECONDS, certificate_bundle
from slipway._internal.run.registries.references import (
    DIGEST_PATTERN,
    FALLBACK_TAG_PATTERN,
    ImageReference,
    fallback_tag,
    parse_reference,
)
from slipway._internal.run.registries.transfer import CopyLogins, CopyResult, copy_image, push_by_digest, push_layout

__all__ = [
    "DIGEST_PATTERN",
    "FALLBACK_TAG_PATTERN",
    "MAX_CONCURRENT_REQUESTS",
    "CopyLogins",
    "CopyResult",
    "ImageReference",
    "Manifest",
    "Referrer",
    "Registry",
    "certificate_bundle",
    "copy_image",
    "fallback_tag",
    "fetch_reported_digests",
    "oci_digest",
    "open_registry",
    "parse_reference",
    "push_by_digest",
    "push_layout",
    "resolve_digests",
    "verify_layout",
]


def open_registry(host: str, purpose: LoginPurpose, workspace: Workspace, seconds: float = REQUEST_SECONDS) -> Registry:
    """Return a registry, with the workspace's login for a purpose.

    Raises:
        ConfigError: the folder that is named for it holds no Docker config.
    """
    return Registry(host, login_config_of(workspace, purpose), seconds)


def resolve_digests(refs: Iterable[str], workspace: Workspace) -> dict[str, str | None]:
    """Return the digest of each image reference, or None where there is none; many are asked at once.

    Raises:
        ConfigError: something is not an image reference.
        SlipwayError: a registry does not answer, or refuses.
    """
    return _ask_registries(refs, workspace, Registry.resolve_digest)


def fetch_reported_digests(refs: Iterable[str], workspace: Workspace) -> dict[str, str | None]:
    """Return what a registry says the digest of each image reference is: one HEAD request each, unproven.

    Raises:
        ConfigError: something is not an image reference.
        SlipwayError: a registry does not answer, or refuses.
    """
    return _ask_registries(refs, workspace, Registry.fetch_reported_digest)


def _ask_registries(
    refs: Iterable[str], workspace: Workspace, ask: Callable[[Registry, str, str], str | None]
) -> dict[str, str | None]:
    references = {ref: parse_reference(ref) for ref in refs}
    if not references:
        return {}
    config = login_config_of(workspace, "pull")
    registries = {host: Registry(host, config) for host in {reference.host for reference in references.values()}}
    with ThreadPoolExecutor(min(MAX_CONCURRENT_REQUESTS, len(references))) as pool:
        pending = {
            ref: pool.submit(ask, registries[reference.host], reference.repository, reference.reference)
            for ref, reference in references.items()
        }
        try:
            return {ref: future.result() for ref, future in pending.items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
