"""Commands for cosign: nothing secret in them, nothing public done with a key, plain HTTP for this machine only."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.commands import cosign
from slipway._internal.model.trust import Identity

PROGRAM = Path("/t/cosign")
REF = f"ghcr.io/acme/shop/release/api@sha256:{'a' * 64}"
LOCAL = f"127.0.0.1:5000/shop/release/api@sha256:{'a' * 64}"


def test_a_key_signs_without_certificate_or_public_log() -> None:
    assert cosign.sign(PROGRAM, REF, "k.key", {"service": "api", "content": "c"}) == [
        "/t/cosign",
        "sign",
        "--yes",
        "--key",
        "k.key",
        "--use-signing-config=false",
        "--tlog-upload=false",
        "--annotations",
        "service=api",
        "--annotations",
        "content=c",
        REF,
    ]


def test_keyless_is_what_cosign_does_by_itself() -> None:
    assert cosign.sign(PROGRAM, REF, None, {}) == ["/t/cosign", "sign", "--yes", REF]
    assert cosign.attest(PROGRAM, REF, None, "sbom", Path("s.json")) == [
        "/t/cosign",
        "attest",
        "--yes",
        "--type",
        "cyclonedx",
        "--predicate",
        "s.json",
        REF,
    ]


def test_plain_http_is_for_this_machine_alone() -> None:
    assert "--allow-http-registry" in cosign.sign(PROGRAM, LOCAL, "k", {})
    assert "--allow-http-registry" in cosign.attest(PROGRAM, LOCAL, "k", "scan", Path("f"))
    assert "--allow-http-registry" not in cosign.sign(PROGRAM, REF, "k", {})


@pytest.mark.parametrize(
    ("kind", "spelled"),
    [
        ("sbom", "cyclonedx"),
        ("spdx", "spdxjson"),
        ("scan", "vuln"),
        ("provenance", "slsaprovenance02"),
        ("tests", "https://in-toto.io/attestation/test-result/v0.1"),
    ],
)
def test_each_kind_is_attested_as_its_type(kind: str, spelled: str) -> None:
    argv = cosign.attest(PROGRAM, REF, "k", kind, Path("f"))
    assert argv[argv.index("--type") + 1] == spelled


def test_a_bundle_is_verified_about_one_image_against_one_key() -> None:
    assert cosign.verify(PROGRAM, Path("b.json"), "signature", f"sha256:{'a' * 64}", Path("k.pub")) == [
        "/t/cosign",
        "verify-blob-attestation",
        "--bundle",
        "b.json",
        "--type",
        "https://sigstore.dev/cosign/sign/v1",
        "--digest",
        "a" * 64,
        "--digestAlg",
        "sha256",
        "--key",
        "k.pub",
        "--insecure-ignore-tlog",
    ]


def test_an_identity_is_verified_with_its_issuer_and_the_public_log() -> None:
    digest = f"sha256:{'a' * 64}"
    full = cosign.verify(PROGRAM, Path("b"), "scan", digest, Identity("https://i", "me@x"))
    assert full[-4:] == ["--certificate-oidc-issuer", "https://i", "--certificate-identity", "me@x"]
    pattern = cosign.verify(PROGRAM, Path("b"), "scan", digest, Identity("https://i", subject_regexp="^x$"))
    assert pattern[-4:] == ["--certificate-oidc-issuer", "https://i", "--certificate-identity-regexp", "^x$"]
    assert not any("ignore" in word for word in full + pattern)
