"""Commands for cosign: making keys, signing and attesting an image, and verifying one bundle of evidence.

With a key nothing leaves the machine but what goes to the registry: no transparency log, no certificate. Keyless is
what cosign does by itself: Fulcio's certificate for the CI's identity, and an entry in the transparency log.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from slipway._internal.model.names import LOOPBACK
from slipway._internal.model.trust import Identity

SIGNATURE = "signature"
PREDICATE_TYPES = {
    SIGNATURE: "https://sigstore.dev/cosign/sign/v1",
    "sbom": "https://cyclonedx.org/bom",
    "spdx": "https://spdx.dev/Document",
    "scan": "https://cosign.sigstore.dev/attestation/vuln/v1",
    "provenance": "https://slsa.dev/provenance/v0.2",
    "tests": "https://in-toto.io/attestation/test-result/v0.1",
}
"""The kinds of evidence, in the order in which they are attached, and the predicate type of each."""
EVIDENCE_KINDS = tuple(PREDICATE_TYPES)
COSIGN_TYPE_NAMES = {"sbom": "cyclonedx", "spdx": "spdxjson", "scan": "vuln", "provenance": "slsaprovenance02"}
"""What cosign calls a type for which it has a form of its own; any other is its address."""
BUNDLE_TYPE_PREFIX = "application/vnd.dev.sigstore.bundle"
"""How the artifact type begins of what cosign attaches to an image."""


def generate_key_pair(cosign: Path, prefix: Path) -> list[str]:
    """Return the command that makes `prefix`.key and `prefix`.pub; the password comes by standard input."""
    return [str(cosign), "generate-key-pair", "--output-key-prefix", str(prefix)]


def public_key(cosign: Path, key: str) -> list[str]:
    """Return the command that prints the public half of a private key."""
    return [str(cosign), "public-key", "--key", key]


def sign(cosign: Path, ref: str, key: str | None, annotations: Mapping[str, str]) -> list[str]:
    """Return the command that signs an image by digest; `key` None is keyless."""
    annotation_flags = [word for name, value in annotations.items() for word in ("--annotations", f"{name}={value}")]
    return [str(cosign), "sign", "--yes", *_key_flags(key), *_registry_flags(ref), *annotation_flags, ref]


def attest(cosign: Path, ref: str, key: str | None, kind: str, predicate: Path) -> list[str]:
    """Return the command that attaches a file to an image as evidence of a kind; `key` None is keyless."""
    words = ["--type", COSIGN_TYPE_NAMES.get(kind, PREDICATE_TYPES[kind]), "--predicate", str(predicate)]
    return [str(cosign), "attest", "--yes", *_key_flags(key), *_registry_flags(ref), *words, ref]


def verify(cosign: Path, bundle: Path, kind: str, digest: str, signer: Path | Identity) -> list[str]:
    """Return the command that verifies one bundle, as it was read from the registry.

    Args:
        cosign: the cosign binary.
        bundle: the bundle's file.
        kind: what it has to be evidence of.
        digest: the image that it has to be about.
        signer: the public key's file, or the identity, that has to have signed it.
    """
    algorithm, _, value = digest.partition(":")
    return [
        str(cosign),
        "verify-blob-attestation",
        "--bundle",
        str(bundle),
        "--type",
        PREDICATE_TYPES[kind],
        "--digest",
        value,
        "--digestAlg",
        algorithm,
        *_signer_flags(signer),
    ]


def _key_flags(key: str | None) -> list[str]:
    return ["--key", key, "--use-signing-config=false", "--tlog-upload=false"] if key else []


def _registry_flags(ref: str) -> list[str]:
    return ["--allow-http-registry"] if LOOPBACK.match(ref) else []


def _signer_flags(signer: Path | Identity) -> list[str]:
    if isinstance(signer, Path):
        return ["--key", str(signer), "--insecure-ignore-tlog"]
    subject_flags = (
        ["--certificate-identity", signer.subject]
        if signer.subject
        else ["--certificate-identity-regexp", str(signer.subject_regexp)]
    )
    return ["--certificate-oidc-issuer", signer.issuer, *subject_flags]
