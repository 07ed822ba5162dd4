"""The generated admission policies, checked against the controllers' own schemas, from the modules they publish."""

from __future__ import annotations

import base64
import copy
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from slipway._internal.commands import admission as commands
from slipway._internal.gate import admission
from slipway._internal.model import trust, workspace
from slipway._internal.model.errors import EvidenceError

pytestmark = pytest.mark.engine

MODULES = {
    "policy-controller.yaml": ("github.com/sigstore/policy-controller@v0.13.1", "config/300-clusterimagepolicy.yaml"),
    "kyverno.yaml": ("github.com/kyverno/kyverno@v1.19.1", "config/crds/kyverno/kyverno.io_clusterpolicies.yaml"),
}
"""Where each controller's CustomResourceDefinition is: the versions are those that the generated files speak of."""
IDENTITIES = """\
[[identity]]
issuer = "https://token.actions.githubusercontent.com"
subject = "https://github.com/acme/shop/.github/workflows/ship.yaml@refs/heads/main"

[[identity]]
issuer = "https://gitlab.example"
subject-regexp = "^https://gitlab.example/acme/.*$"
"""


@pytest.fixture
def shop(tmp_path: Path) -> workspace.Workspace:
    """A workspace that trusts a key and two identities, with a stack that has a registry of its own."""
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.prod.yaml").write_text(
        "config:\n  slipway:images: external\n  slipway:protected: true\n  slipway:registry: ghcr.io/acme\n"
    )
    trust.keys_folder(tmp_path).mkdir(parents=True)
    der = base64.b64encode(bytes([0x30, 3, 2, 1, 1])).decode()
    text = f"-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n"
    (trust.keys_folder(tmp_path) / "one.pub").write_text(text)
    trust.identities_path(tmp_path).write_text(IDENTITIES)
    return workspace.load_workspace(tmp_path)


def downloaded(module: str) -> Path:
    """Return the folder of a Go module, got by Go's own client."""
    done = subprocess.run(
        ["go", "mod", "download", "-json", module],
        cwd="/",
        env={**os.environ, "GOFLAGS": "-mod=mod"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = json.loads(done.stdout)
    assert "Error" not in said, said["Error"]
    return Path(said["Dir"])


def schema(module: str, path: str, version: str) -> dict[str, Any]:
    """Return a CustomResourceDefinition's schema, as strict as the API server with field validation is."""
    (definition,) = yaml.safe_load_all((downloaded(module) / path).read_text())
    (found,) = [each for each in definition["spec"]["versions"] if each["name"] == version and each["served"]]
    strict: dict[str, Any] = found["schema"]["openAPIV3Schema"]
    strict["properties"] |= {  # what the API server itself knows of every object
        "apiVersion": {"const": f"{definition['spec']['group']}/{version}"},
        "kind": {"const": definition["spec"]["names"]["kind"]},
        "metadata": {
            "type": "object",
            "properties": {"name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}},
        },
    }
    refuse_unknown(strict)
    return strict


def refuse_unknown(node: Any) -> None:
    """Let a schema refuse what it does not name, where the definition does not say that anything goes."""
    if isinstance(node, list):
        for each in node:
            refuse_unknown(each)
    elif isinstance(node, dict):
        if isinstance(node.get("properties"), dict) and not node.get("x-kubernetes-preserve-unknown-fields"):
            node.setdefault("additionalProperties", False)
        for each in node.values():
            refuse_unknown(each)


@pytest.mark.parametrize("name", MODULES)
def test_the_policy_fits_its_controllers_schema(shop: workspace.Workspace, name: str) -> None:
    """The controllers will take the generated policies: their own schemas, from their modules, check them."""
    admission.write_policies(shop)
    document = yaml.safe_load((admission.policies_folder(shop) / name).read_text())
    strict = schema(*MODULES[name], document["apiVersion"].partition("/")[2])
    jsonschema.Draft202012Validator(strict).validate(document)
    for spoil in spoilt(name):
        wrong = copy.deepcopy(document)
        spoil(wrong)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(strict).validate(wrong)


def spoilt(name: str) -> list[Callable[[dict[str, Any]], None]]:
    """Return ways to spoil a policy that its schema has to notice, or the check is none."""

    def deep(document: dict[str, Any]) -> Any:
        if name == "kyverno.yaml":
            return document["spec"]["rules"][0]["verifyImages"][0]
        return document["spec"]["authorities"][0]

    return [
        lambda document: document["spec"].update(unheard="of"),
        lambda document: deep(document).update(unheard="of"),
        lambda document: deep(document)["attestations"][0].update(unheard="of"),
        lambda document: deep(document).update(attestations="all"),
        lambda document: deep(document)["attestations"].append("one more"),
    ]


def test_the_policies_hold_for_every_registry_that_a_stack_releases_to(shop: workspace.Workspace) -> None:
    admission.write_policies(shop)
    for name in MODULES:
        text = (admission.policies_folder(shop) / name).read_text()
        assert "127.0.0.1:5000/shop/release/*" in text
        assert "ghcr.io/acme/shop/release/*" in text


def test_the_policies_are_written_once_and_told_when_they_are_stale(shop: workspace.Workspace) -> None:
    paths = [admission.policies_folder(shop) / name for name in MODULES]
    assert admission.stale_policies(shop) == paths
    assert admission.write_policies(shop) == paths
    assert admission.stale_policies(shop) == admission.write_policies(shop) == []
    (trust.keys_folder(shop.root) / "one.pub").unlink()
    assert admission.stale_policies(shop) == paths
    paths[0].write_text("mine")
    admission.write_policies(shop)
    assert "BEGIN PUBLIC KEY" not in "".join(path.read_text() for path in paths)
    assert admission.stale_policies(shop) == []


def test_no_policy_is_made_where_nobody_is_trusted(shop: workspace.Workspace) -> None:
    (trust.keys_folder(shop.root) / "one.pub").unlink()
    trust.identities_path(shop.root).unlink()
    with pytest.raises(EvidenceError, match="trusts nobody"):
        admission.write_policies(shop)
    assert not admission.policies_folder(shop).exists()


def test_a_stack_on_kubernetes_has_its_namespaces_policy_written_too(shop: workspace.Workspace) -> None:
    (shop.root / "infra" / "Pulumi.live.yaml").write_text(
        "config:\n  slipway:images: external\n  slipway:protected: false\n  slipway:target: kubernetes\n"
    )
    path = admission.policies_folder(shop) / "validating-admission-policy.yaml"
    assert path in admission.write_policies(shop)
    found = list(yaml.safe_load_all(path.read_text()))
    prefixes = ["127.0.0.1:5000/shop/", "127.0.0.1:5000/shop/release/"]
    assert found == commands.images_policy_documents("shop-live", prefixes)


def test_the_files_say_what_the_policies_are(shop: workspace.Workspace) -> None:
    """What is written by hand is read by a YAML library: nothing is lost on the way, the keys least of all."""
    admission.write_policies(shop)
    found = {name: yaml.safe_load((admission.policies_folder(shop) / name).read_text()) for name in MODULES}
    images = admission.image_patterns(shop)
    assert found["kyverno.yaml"] == commands.kyverno_policy("shop-release", images, trust.load(shop.root))
    expected = commands.cluster_image_policy("shop-release", images, trust.load(shop.root))
    assert found["policy-controller.yaml"] == expected
