"""The admission policies ask for all evidence by somebody trusted, and let nothing else through."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.commands import admission
from slipway._internal.commands.cosign import PREDICATE_TYPES
from slipway._internal.model import workspace
from slipway._internal.model.stack import Stack
from slipway._internal.model.trust import Identity, PublicKey, TrustedSigners

KEY = PublicKey(Path("k.pub"), "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n", "ab" * 32)
FULL = Identity("https://issuer", "https://github.com/acme/shop/ship.yaml@refs/heads/main")
PATTERN = Identity("https://issuer", subject_regexp="^https://github.com/acme/.*$")
TRUST = TrustedSigners((KEY,), (FULL, PATTERN))
IMAGES = ["ghcr.io/acme/shop/release/*"]


def test_policy_controller_asks_each_signer_for_every_kind_of_evidence() -> None:
    spec = admission.cluster_image_policy("shop-release", IMAGES, TRUST)["spec"]
    assert spec["mode"] == "enforce"
    assert spec["images"] == [{"glob": IMAGES[0]}]
    assert [each["name"] for each in spec["authorities"]] == ["key-abababab", "identity-1", "identity-2"]
    for authority in spec["authorities"]:
        assert [each["predicateType"] for each in authority["attestations"]] == list(PREDICATE_TYPES.values())
        assert authority["signatureFormat"] == "bundle"
    assert spec["authorities"][0]["key"]["data"] == KEY.pem
    identities = [each["keyless"]["identities"] for each in spec["authorities"][1:]]
    assert identities[0] == [{"issuer": "https://issuer", "subject": FULL.subject}]
    assert identities[1] == [{"issuer": "https://issuer", "subjectRegExp": PATTERN.subject_regexp}]


def test_kyverno_asks_any_one_signer_for_every_kind_of_evidence() -> None:
    spec = admission.kyverno_policy("shop-release", IMAGES, TRUST)["spec"]
    (rule,) = spec["rules"]
    (images,) = rule["verifyImages"]
    assert (images["failureAction"], images["required"], images["verifyDigest"]) == ("Enforce", True, True)
    assert images["mutateDigest"] is False
    assert images["type"] == "SigstoreBundle"
    assert [each["type"] for each in images["attestations"]] == list(PREDICATE_TYPES.values())
    for attestation in images["attestations"]:
        (attestors,) = attestation["attestors"]
        assert attestors["count"] == 1
        assert [next(iter(each)) for each in attestors["entries"]] == ["keys", "keyless", "keyless"]
    assert spec["webhookConfiguration"]["failurePolicy"] == "Fail"


def test_only_keys_go_without_the_transparency_log() -> None:
    (rule,) = admission.kyverno_policy("n", IMAGES, TRUST)["spec"]["rules"]
    entries = rule["verifyImages"][0]["attestations"][0]["attestors"][0]["entries"]
    assert entries[0]["keys"]["rekor"]["ignoreTlog"]
    assert all("ignoreTlog" not in each["keyless"]["rekor"] for each in entries[1:])


def test_plain_http_is_for_this_machine_alone() -> None:
    def of(images: list[str]) -> bool:
        (rule,) = admission.kyverno_policy("n", images, TRUST)["spec"]["rules"]
        return "imageRegistryCredentials" in rule["verifyImages"][0]

    assert of(["127.0.0.1:5000/shop/release/*"])
    assert not of(IMAGES)


def stack_of(tmp_path: Path, **settings: object) -> Stack:
    given = {"mode": "external", "target": "kubernetes", "protected": True, **settings}
    return Stack("prod", tmp_path / "Pulumi.prod.yaml", **given)  # type: ignore[arg-type]


def shop(tmp_path: Path) -> workspace.Workspace:
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    return workspace.load_workspace(tmp_path)


def test_a_protected_external_stack_takes_released_images_only(tmp_path: Path) -> None:
    stack = stack_of(tmp_path, registry="ghcr.io/acme")
    assert admission.allowed_prefixes(shop(tmp_path), stack) == ["ghcr.io/acme/shop/release/"]


@pytest.mark.parametrize("settings", [{"mode": "inline", "protected": False}, {"mode": "hybrid"}, {"protected": False}])
def test_any_other_stack_takes_those_of_development_too(tmp_path: Path, settings: dict[str, object]) -> None:
    stack = stack_of(tmp_path, registry="ghcr.io/acme", **settings)
    assert admission.allowed_prefixes(shop(tmp_path), stack) == ["127.0.0.1:5000/shop/", "ghcr.io/acme/shop/release/"]


def test_the_cluster_looks_at_all_kinds_of_containers_of_one_namespace() -> None:
    policy, binding = admission.images_policy_documents("shop-prod", ["ghcr.io/acme/shop/release/"])
    spec = policy["spec"]
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        assert f"object.spec.{kind}.map(" in spec["variables"][0]["expression"]
    (rule,) = spec["matchConstraints"]["resourceRules"]
    assert rule["resources"] == ["pods", "pods/ephemeralcontainers"]
    assert rule["operations"] == ["CREATE", "UPDATE"]
    assert spec["failurePolicy"] == "Fail"
    pinned, ours = (each["expression"] for each in spec["validations"])
    assert "@sha256:[0-9a-f]{64}$" in pinned
    assert '["ghcr.io/acme/shop/release/"]' in ours
    assert binding["spec"]["policyName"] == policy["metadata"]["name"] == "slipway.shop-prod.images"
    assert binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "shop-prod"
    }
