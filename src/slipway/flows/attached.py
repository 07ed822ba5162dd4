"""What is attached to an image in its registry: read by digest, taken apart, and verified by cosign piece by piece.

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

from slipway.commands import cosign
from slipway.flows.keys import ALONE
from slipway.flows.standing import Ground
from slipway.model.errors import SlipwayError
from slipway.model.scratch import temporary_folder
from slipway.model.trust import Identity, Key, Trust
from slipway.model.workspace import Workspace
from slipway.run.credentials import config_of
from slipway.run.process import run
from slipway.run.registry import Manifest, Registry, parse

CREATED = "org.opencontainers.image.created"
LARGEST = 128 * 1024 * 1024
"""How large a bundle may be: what cosign itself reads."""
FINISHED = "finishedOn"
"""The key under which a test result says when the tests ended."""
CLOCKS = timedelta(minutes=10)
"""How far the clocks of two machines may be apart."""
NEVER = datetime.min.replace(tzinfo=UTC)
KIND_OF = {predicate: kind for kind, predicate in cosign.TYPES.items()}


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

    manifest: str
    kind: str
    statement: Mapping[str, Any] = field(repr=False)
    hint: str | None
    made: str
    text: str = field(repr=False)

    @property
    def predicate(self) -> Mapping[str, Any]:
        found = self.statement.get("predicate")
        return found if isinstance(found, Mapping) else {}

    def moment(self, now: datetime) -> datetime:
        """Return when what it says was found out, to tell the newest of a kind.

        That is the time that is signed with it, where there is one: whoever may write to the registry can attach an
        old bundle again, under a new date. What is dated later than `now` is the oldest: it would hide all others.
        """
        about = self.predicate.get("metadata")
        signed = self.predicate.get(FINISHED) or (about.get("scanFinishedOn") if isinstance(about, Mapping) else None)
        for text in (signed, self.made):
            with suppress(ValueError, OverflowError):
                found = datetime.fromisoformat(str(text)).astimezone(UTC)
                if found.year > 1:  # Go's zero time, which cosign writes for none
                    return found if found <= now + CLOCKS else NEVER
        return NEVER

    def annotations(self, digest: str) -> Mapping[str, str]:
        """Return what it says of an image beside its digest."""
        for subject in self.statement["subject"]:
            if subject["digest"].get("sha256") == digest.partition(":")[2]:
                found = subject.get("annotations")
                return found if isinstance(found, Mapping) else {}
        return {}


@dataclass(frozen=True)
class Verified:
    """A bundle that cosign has verified, and whose it is."""

    bundle: Bundle
    signer: str


def opened(workspace: Workspace, refs: Iterable[str]) -> Mapping[str, Registry]:
    """Return the registries that image references name, by host, to be read with the login for pulling."""
    config = config_of(workspace, "pull")
    return {host: Registry(host, config) for host in {parse(ref).host for ref in refs}}


def listed(held: Registry, ref: str) -> frozenset[str]:
    """Return the digests of the bundles that a registry lists for an image; raises what `Registry.referrers` does."""
    part = parse(ref)
    found = held.referrers(part.repository, part.reference)
    return frozenset(each.digest for each in found if each.artifact_type.startswith(cosign.BUNDLE))


def read(held: Registry, ref: str, only: Collection[str] = ()) -> list[Bundle]:
    """Return the bundles attached to an image, the oldest first; what is no bundle, or is damaged, is passed over.

    An upload that broke off leaves a manifest without its bytes: it must not keep others from counting.

    Args:
        held: the image's registry.
        ref: the image by digest.
        only: the digests of those that matter; without any, all do.

    Raises:
        SlipwayError: the registry does not answer, refuses, or sends other bytes than were asked for.
    """
    found = [_bundle(held, ref, digest) for digest in listed(held, ref) if not only or digest in only]
    now = datetime.now(UTC)
    return sorted((each for each in found if each), key=lambda each: (each.moment(now), each.made, each.manifest))


def _bundle(held: Registry, ref: str, digest: str) -> Bundle | None:
    repository = parse(ref).repository
    with suppress(LookupError, ValueError, TypeError, AttributeError, RecursionError):
        try:
            manifest = held.manifest(repository, digest)
            return taken_apart(manifest, held.blob(repository, manifest.content["layers"][0]["digest"], LARGEST))
        except SlipwayError:
            if held.digest(repository, parse(ref).reference) is None:  # or raises: the registry itself is gone
                raise
    return None


def taken_apart(manifest: Manifest, blob: bytes) -> Bundle:
    """Return a bundle from its manifest and content; LookupError, ValueError or the like when it is none."""
    text = blob.decode()
    content = json.loads(text)
    statement = json.loads(base64.b64decode(content["dsseEnvelope"]["payload"], validate=True))
    for subject in statement["subject"]:
        subject["digest"].get("sha256")
    key = content["verificationMaterial"].get("publicKey")
    hint = str(key.get("hint", "")) if key is not None else None
    made = str((manifest.content.get("annotations") or {}).get(CREATED, ""))
    return Bundle(manifest.digest, KIND_OF.get(statement["predicateType"], ""), statement, hint, made, text)


def verified(ground: Ground, bundle: Bundle, digest: str, trust: Trust) -> Verified | str:
    """Return a bundle with whose it is, or what is wrong with it in words.

    Args:
        ground: has cosign.
        bundle: what was found.
        digest: the image that it has to be about.
        trust: whose signature counts.
    """
    signers: list[Key | Identity]
    if bundle.hint is None:
        signers, nobody = list(trust.identities), "policy/identities.toml trusts no identity"
    else:
        key = trust.key(bundle.hint)
        signers, nobody = [key] if key else [], "it was made with a key that policy/keys does not hold"
    refusal = nobody
    with temporary_folder(ground.workspace.scratch, "verify") as own:
        file = own / "bundle.json"
        file.write_text(bundle.text, encoding="utf-8")
        for signer in signers:
            by: Path | Identity = own / "key.pub"
            if isinstance(signer, Key):  # as it was read: what the file says now is another question
                (own / "key.pub").write_text(signer.pem, encoding="utf-8")
            else:
                by = signer
            argv = cosign.verify(ground.bin / "cosign", file, bundle.kind, digest, by)
            limit = float(ground.workspace.settings.gate.seconds)
            try:
                result = run(argv, env={**ground.environment, **ALONE}, timeout=limit)
            except SlipwayError as error:  # it took too long
                refusal = error.what
                continue
            if result.code == 0:
                return Verified(bundle, named(ground, signer))
            refusal = _reason(result.output)
    return refusal


def named(ground: Ground, signer: Key | Identity) -> str:
    """Return a signer's name: the key's file in the workspace, or the identity."""
    return signer.name if isinstance(signer, Identity) else signer.path.relative_to(ground.workspace.root).as_posix()


def _reason(output: str) -> str:
    said = [line.partition("Error: ")[2] for line in output.splitlines() if line.startswith("Error: ")]
    return f"cosign refuses it: {said[-1] if said else output.strip()[-200:]}"
