"""The bundles attached to an image in its registry: read by digest, parsed, and verified by cosign one by one.

A registry is believed nothing: whoever may write to it may attach anything to anything. What counts is a bundle that
cosign verifies against a trusted signer, about this image's digest.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from slipway._internal.commands import cosign
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate.signing_keys import ISOLATED_ENVIRONMENT
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.scratch import temporary_folder
from slipway._internal.model.trust import Identity, PublicKey, TrustedSigners
from slipway._internal.model.workspace import Workspace
from slipway._internal.run.credentials import login_config_of
from slipway._internal.run.process import run
from slipway._internal.run.registries.references import CREATED_ANNOTATION
from slipway._internal.run.registry import Manifest, Registry, parse_reference

MAX_BUNDLE_BYTES = 128 * 1024 * 1024
"""How large a bundle may be: what cosign itself reads."""
FINISHED_KEY = "finishedOn"
"""The key under which a test result says when the tests ended."""
CLOCK_SKEW = timedelta(minutes=10)
"""How far the clocks of two machines may be apart."""
EARLIEST = datetime.min.replace(tzinfo=UTC)
KIND_BY_PREDICATE_TYPE = {predicate: kind for kind, predicate in cosign.PREDICATE_TYPES.items()}


@dataclass(frozen=True)
class Bundle:
    """One bundle as it was found, nothing in it verified.

    Attributes:
        manifest: the digest that the lock knows it by.
        kind: what it says it is evidence of; empty for something else.
        statement: what it says, about which images.
        hint: which key it says made it; None for a certificate.
        made: when it says it was attached.
        text: the bundle itself.
    """

    manifest_digest: str
    kind: str
    statement: Mapping[str, Any] = field(repr=False)
    key_hint: str | None
    created: str
    text: str = field(repr=False)

    @property
    def predicate(self) -> Mapping[str, Any]:
        predicate = self.statement.get("predicate")
        return predicate if isinstance(predicate, Mapping) else {}

    def observed_at(self, now: datetime) -> datetime:
        """Return when what it says was found out, to tell the newest of a kind.

        That is the time that is signed with it, where there is one: whoever may write to the registry can attach an
        old bundle again, under a new date. What is dated later than `now` is the oldest: it would hide all others.
        """
        metadata = self.predicate.get("metadata")
        signed_time = self.predicate.get(FINISHED_KEY) or (
            metadata.get("scanFinishedOn") if isinstance(metadata, Mapping) else None
        )
        for text in (signed_time, self.created):
            with suppress(ValueError, OverflowError):
                moment = datetime.fromisoformat(str(text)).astimezone(UTC)
                if moment.year > 1:  # Go's zero time, which cosign writes for none
                    return moment if moment <= now + CLOCK_SKEW else EARLIEST
        return EARLIEST

    def annotations(self, digest: str) -> Mapping[str, str]:
        """Return what it says of an image beside its digest."""
        for subject in self.statement["subject"]:
            if subject["digest"].get("sha256") == digest.partition(":")[2]:
                annotations = subject.get("annotations")
                return annotations if isinstance(annotations, Mapping) else {}
        return {}


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle that cosign has verified, and whose it is."""

    bundle: Bundle
    signer: str


def open_registries(workspace: Workspace, refs: Iterable[str]) -> Mapping[str, Registry]:
    """Return the registries that image references name, by host, to be read with the login for pulling."""
    config = login_config_of(workspace, "pull")
    return {host: Registry(host, config) for host in {parse_reference(ref).host for ref in refs}}


def list_bundle_digests(registry: Registry, ref: str) -> frozenset[str]:
    """Return the digests of the bundles that a registry lists for an image; it raises as `list_referrers`."""
    reference = parse_reference(ref)
    referrers = registry.list_referrers(reference.repository, reference.reference)
    return frozenset(
        referrer.digest for referrer in referrers if referrer.artifact_type.startswith(cosign.BUNDLE_TYPE_PREFIX)
    )


def list_bundles(registry: Registry, ref: str, digests: Collection[str] = ()) -> list[Bundle]:
    """Return the bundles attached to an image, the oldest first; what is not a bundle, or is damaged, is passed over.

    An upload that broke off leaves a manifest without its bytes: it must not keep others from counting.

    Args:
        registry: the image's registry.
        ref: the image by digest.
        digests: the digests of those that matter; without any, all do.

    Raises:
        SlipwayError: the registry does not answer, refuses, or sends other bytes than were asked for.
    """
    bundles = [
        _fetch_bundle(registry, ref, digest)
        for digest in list_bundle_digests(registry, ref)
        if not digests or digest in digests
    ]
    now = datetime.now(UTC)
    return sorted(
        (bundle for bundle in bundles if bundle),
        key=lambda bundle: (bundle.observed_at(now), bundle.created, bundle.manifest_digest),
    )


def _fetch_bundle(registry: Registry, ref: str, digest: str) -> Bundle | None:
    repository = parse_reference(ref).repository
    with suppress(LookupError, ValueError, TypeError, AttributeError, RecursionError):
        try:
            manifest = registry.get_manifest(repository, digest)
            return parse_bundle(
                manifest, registry.read_blob(repository, manifest.content["layers"][0]["digest"], MAX_BUNDLE_BYTES)
            )
        except SlipwayError:
            if (
                registry.resolve_digest(repository, parse_reference(ref).reference) is None
            ):  # or raises: the registry itself is gone
                raise
    return None


def parse_bundle(manifest: Manifest, blob: bytes) -> Bundle:
    """Return a bundle from its manifest and content; LookupError, ValueError or the like when it is none."""
    text = blob.decode()
    content = json.loads(text)
    statement = json.loads(base64.b64decode(content["dsseEnvelope"]["payload"], validate=True))
    for subject in statement["subject"]:
        subject["digest"].get("sha256")
    key = content["verificationMaterial"].get("publicKey")
    key_hint = str(key.get("hint", "")) if key is not None else None
    created = str((manifest.content.get("annotations") or {}).get(CREATED_ANNOTATION, ""))
    return Bundle(
        manifest.digest, KIND_BY_PREDICATE_TYPE.get(statement["predicateType"], ""), statement, key_hint, created, text
    )


def verify_bundle(context: RunContext, bundle: Bundle, digest: str, trust: TrustedSigners) -> VerifiedBundle | str:
    """Return a bundle with whose it is, or what is wrong with it in words.

    Args:
        context: has cosign.
        bundle: what was found.
        digest: the image that it has to be about.
        trust: whose signature counts.
    """
    signers: list[PublicKey | Identity]
    if bundle.key_hint is None:
        signers, no_signer = list(trust.identities), "policy/identities.toml trusts no identity"
    else:
        key = trust.find_key(bundle.key_hint)
        signers, no_signer = [key] if key else [], "it was made with a key that policy/keys does not hold"
    refusal = no_signer
    with temporary_folder(context.workspace.scratch, "verify") as folder:
        file = folder / "bundle.json"
        file.write_text(bundle.text, encoding="utf-8")
        for signer in signers:
            key_or_identity: Path | Identity = folder / "key.pub"
            if isinstance(signer, PublicKey):  # as it was read: what the file says now is another question
                (folder / "key.pub").write_text(signer.pem, encoding="utf-8")
            else:
                key_or_identity = signer
            argv = cosign.verify(context.bin / "cosign", file, bundle.kind, digest, key_or_identity)
            limit = float(context.workspace.settings.gate.seconds)
            try:
                result = run(argv, env={**context.environment, **ISOLATED_ENVIRONMENT}, timeout=limit)
            except SlipwayError as error:  # it took too long
                refusal = error.message
                continue
            if result.code == 0:
                return VerifiedBundle(bundle, signer_name(context, signer))
            refusal = _refusal_reason(result.output)
    return refusal


def signer_name(context: RunContext, signer: PublicKey | Identity) -> str:
    """Return a signer's name: the key's file in the workspace, or the identity."""
    return signer.name if isinstance(signer, Identity) else signer.path.relative_to(context.workspace.root).as_posix()


def _refusal_reason(output: str) -> str:
    errors = [line.partition("Error: ")[2] for line in output.splitlines() if line.startswith("Error: ")]
    return f"cosign refuses it: {errors[-1] if errors else output.strip()[-200:]}"
