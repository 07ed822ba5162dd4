"""Admission policies for a cluster: whose signatures count, and which registries a namespace takes images from.

The trust policy, as a policy-controller ClusterImagePolicy and as a Kyverno ClusterPolicy, says what
`gate.evidence` asks for: each kind of evidence, the signature among them, by a trusted signer. A cluster asks
neither what the evidence says nor for which service it was made; a deploy does.

A ValidatingAdmissionPolicy needs no controller, and looks at no evidence: it holds a namespace to the stack's own
repositories, and to digests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from slipway._internal.commands.cosign import PREDICATE_TYPES
from slipway._internal.model.names import LOOPBACK
from slipway._internal.model.stack import Stack
from slipway._internal.model.trust import Identity, PublicKey, TrustedSigners
from slipway._internal.model.workspace import Workspace

FULCIO_URL = "https://fulcio.sigstore.dev"
REKOR_URL = "https://rekor.sigstore.dev"
MAX_WEBHOOK_SECONDS = 30
"""The most that Kubernetes waits for an admission webhook."""

ADMISSION_API_VERSION = "admissionregistration.k8s.io/v1"
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
POD_IMAGES_CEL = " + ".join(
    f"(has(object.spec.{kind}) ? object.spec.{kind}.map(each, each.image) : [])"
    for kind in ("containers", "initContainers", "ephemeralContainers")
)
"""The images of all containers of a pod, in CEL, where the three lists are of different types."""


def allowed_prefixes(workspace: Workspace, stack: Stack) -> list[str]:
    """Return the allowed prefixes of a stack's images: its release repositories, and those of development.

    A protected stack in `external` mode has released images only. Any other may have a lock that a push has written, or
    go back to a release that was built inline.
    """
    found = {workspace.release_repository("", stack.registry)}
    if not (stack.protected and stack.mode == "external"):
        found.add(workspace.repository(""))
    return sorted(found)


def images_policy_name(namespace: str) -> str:
    """Return the name of a namespace's admission policy and its binding; both are cluster-wide."""
    return f"slipway.{namespace}.images"


def images_policy(prefixes: Sequence[str]) -> dict[str, Any]:
    """Return a ValidatingAdmissionPolicy's spec: each image by digest, and with one of the prefixes.

    Pods that are being deleted are let through.
    """
    allowed = json.dumps(list(prefixes))
    unpinned = "variables.images.filter(each, !each.matches('@sha256:[0-9a-f]{64}$'))"
    foreign = f"variables.images.filter(each, !{allowed}.exists(prefix, each.startsWith(prefix)))"
    return {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["pods", "pods/ephemeralcontainers"],
                }
            ]
        },
        "matchConditions": [{"name": "stays", "expression": "!has(object.metadata.deletionTimestamp)"}],
        "variables": [{"name": "images", "expression": POD_IMAGES_CEL}],
        "validations": [
            {
                "expression": f"size({unpinned}) == 0",
                "messageExpression": f"'not pinned by digest: ' + {unpinned}.join(', ')",
                "reason": "Forbidden",
            },
            {
                "expression": f"size({foreign}) == 0",
                "messageExpression": f"'not from this stack\\'s registry: ' + {foreign}.join(', ')",
                "reason": "Forbidden",
            },
        ],
    }


def images_policy_binding(namespace: str) -> dict[str, Any]:
    """Return the spec of the binding that holds one namespace to its policy."""
    return {
        "policyName": images_policy_name(namespace),
        "validationActions": ["Deny", "Audit"],
        "matchResources": {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}}},
    }


def images_policy_documents(namespace: str, prefixes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the policy and its binding as whole objects, for whoever applies them by hand."""
    return [
        {
            "apiVersion": ADMISSION_API_VERSION,
            "kind": kind,
            "metadata": {"name": images_policy_name(namespace)},
            "spec": spec,
        }
        for kind, spec in (
            ("ValidatingAdmissionPolicy", images_policy(prefixes)),
            ("ValidatingAdmissionPolicyBinding", images_policy_binding(namespace)),
        )
    ]


def cluster_image_policy(name: str, images: Sequence[str], trust: TrustedSigners) -> dict[str, Any]:
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
            "keyless": {"url": FULCIO_URL, "identities": [_identity_claims(signer)]},
            "ctlog": {"url": REKOR_URL},
        }
        for number, signer in enumerate(trust.identities, start=1)
    ]
    attestations = [{"name": kind, "predicateType": predicate} for kind, predicate in PREDICATE_TYPES.items()]
    return {
        "apiVersion": "policy.sigstore.dev/v1beta1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": name},
        "spec": {
            "images": [{"glob": pattern} for pattern in images],
            "authorities": [
                {**signer, "signatureFormat": "bundle", "attestations": attestations} for signer in authorities
            ],
            "mode": "enforce",
        },
    }


def kyverno_policy(name: str, images: Sequence[str], trust: TrustedSigners) -> dict[str, Any]:
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
            for kind, predicate in PREDICATE_TYPES.items()
        ],
    }
    return {
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": name},
        "spec": {
            "background": False,
            "webhookConfiguration": {"failurePolicy": "Fail", "timeoutSeconds": MAX_WEBHOOK_SECONDS},
            "rules": [
                {
                    "name": "released",
                    "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                    "verifyImages": [rule],
                }
            ],
        },
    }


def _key_entry(key: PublicKey) -> dict[str, Any]:
    """Return a key as Kyverno has it; what it signs is in no transparency log and has no certificate."""
    logs = {"rekor": {"url": REKOR_URL, "ignoreTlog": True}, "ctlog": {"ignoreSCT": True}}
    return {"keys": {"publicKeys": key.pem, "signatureAlgorithm": "sha256", **logs}}


def _identity_entry(identity: Identity) -> dict[str, Any]:
    return {"keyless": {**_identity_claims(identity), "rekor": {"url": REKOR_URL}}}


def _identity_claims(identity: Identity) -> dict[str, Any]:
    subject = {"subject": identity.subject} if identity.subject else {"subjectRegExp": identity.subject_regexp}
    return {"issuer": identity.issuer, **subject}
