"""The trust policy as Kubernetes knows it: a policy-controller ClusterImagePolicy and a Kyverno ClusterPolicy.

Both say what `slipway.flows.evidence` asks for: each kind of evidence, the signature among them, by a trusted signer.
A cluster asks neither what the evidence says nor for which service it was made; a deploy does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slipway.commands.cosign import TYPES
from slipway.model.names import LOOPBACK
from slipway.model.trust import Identity, Key, Trust

FULCIO = "https://fulcio.sigstore.dev"
REKOR = "https://rekor.sigstore.dev"
LONGEST_SECONDS = 30
"""The most that Kubernetes waits for an admission webhook."""


def cluster_image_policy(name: str, images: Sequence[str], trust: Trust) -> dict[str, Any]:
    """Return sigstore policy-controller's policy: one authority for each signer, each of which has to have made all.

    Args:
        name: the policy's.
        images: patterns of image names.
        trust: who may sign.
    """
    authorities = [
        {"name": f"key-{key.fingerprint[:8]}", "key": {"data": key.pem, "hashAlgorithm": "sha256"}}
        for key in trust.keys
    ]
    authorities += [
        {
            "name": f"identity-{number}",
            "keyless": {"url": FULCIO, "identities": [_named(each)]},
            "ctlog": {"url": REKOR},
        }
        for number, each in enumerate(trust.identities, start=1)
    ]
    wanted = [{"name": kind, "predicateType": predicate} for kind, predicate in TYPES.items()]
    return {
        "apiVersion": "policy.sigstore.dev/v1beta1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": name},
        "spec": {
            "images": [{"glob": pattern} for pattern in images],
            "authorities": [{**each, "signatureFormat": "bundle", "attestations": wanted} for each in authorities],
            "mode": "enforce",
        },
    }


def kyverno_policy(name: str, images: Sequence[str], trust: Trust) -> dict[str, Any]:
    """Return Kyverno's policy: pods whose images match have to name them by digest and with all evidence.

    Args:
        name: the policy's.
        images: patterns of image names.
        trust: who may sign.
    """
    entries = [*map(_key_entry, trust.keys), *map(_identity_entry, trust.identities)]
    plain = {"imageRegistryCredentials": {"allowInsecureRegistry": True}} if any(map(LOOPBACK.match, images)) else {}
    rule = {
        "type": "SigstoreBundle",
        "imageReferences": list(images),
        "failureAction": "Enforce",
        "required": True,
        "verifyDigest": True,
        "mutateDigest": False,
        **plain,
        "attestations": [
            {"name": kind, "type": predicate, "attestors": [{"count": 1, "entries": entries}]}
            for kind, predicate in TYPES.items()
        ],
    }
    return {
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": name},
        "spec": {
            "background": False,
            "webhookConfiguration": {"failurePolicy": "Fail", "timeoutSeconds": LONGEST_SECONDS},
            "rules": [
                {
                    "name": "released",
                    "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                    "verifyImages": [rule],
                }
            ],
        },
    }


def _key_entry(key: Key) -> dict[str, Any]:
    """Return a key as Kyverno has it; what it signs is in no transparency log and has no certificate."""
    logs = {"rekor": {"url": REKOR, "ignoreTlog": True}, "ctlog": {"ignoreSCT": True}}
    return {"keys": {"publicKeys": key.pem, "signatureAlgorithm": "sha256", **logs}}


def _identity_entry(identity: Identity) -> dict[str, Any]:
    return {"keyless": {**_named(identity), "rekor": {"url": REKOR}}}


def _named(identity: Identity) -> dict[str, Any]:
    whose = {"subject": identity.subject} if identity.subject else {"subjectRegExp": identity.subject_regexp}
    return {"issuer": identity.issuer, **whose}
