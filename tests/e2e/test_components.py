"""What a stack declares is a tree; a state that an earlier version wrote, flat, becomes that tree and nothing is made.

Pulumi is the real one. The providers answer for all that a stack declares, and remember what they were told to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi import automation
from pulumi.automation.events import EngineEvent
from tests.e2e.echo import Echo, echo
from tests.e2e.workspace import bake

from slipway._internal.model import bases_lock, lock
from slipway._internal.model import stack as stacks
from slipway._internal.model import workspace as workspaces
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.release.deploy import run_infra_program
from slipway._internal.run import registry
from slipway._internal.run.pulumi import PulumiStack, operation_of
from slipway._internal.run.resource_tree import COMPONENT_TYPES
from slipway._internal.toolchain.install import ensure_tool
from slipway.pulumi import ServicesArgs, declare_services

pytestmark = pytest.mark.pulumi

DIGEST = f"sha256:{'a' * 64}"
RECORD = {"id": "r1", "time": "2026-01-01T00:00:00Z", "mode": "inline", "digests": {}}
OUTPUTS = {
    "docker-build:index:Image": {"digest": DIGEST},
    "slipway:docker:Container": {"containerName": "c", "containerId": "c", "imageId": "i"},
    "slipway:docker:Gateway": {"containerName": "g", "containerId": "g", "imageId": "i", "url": "http://127.0.0.1"},
    "slipway:docker:Network": {"networkId": "n"},
    "slipway:index:Live": {"live": "r1", "good": []},
    "slipway:index:Release": {"releases": [RECORD]},
    "slipway:index:Suffix": {"text": "0123456789"},
}
KUBERNETES = "  slipway:gateway: envoy\n  slipway:host: shop.example\n  slipway:tls: cert\n"
TARGETS = {"docker": "", "kubernetes": KUBERNETES}


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that nothing was set up in, with a stack for each target."""
    root = bake(tmp_path_factory.mktemp("components"), project_slug="components")
    for target, lines in TARGETS.items():
        text = f"config:\n  slipway:images: inline\n  slipway:protected: false\n  slipway:target: {target}\n{lines}"
        (root / "infra" / f"Pulumi.{target}.yaml").write_text(text, encoding="utf-8")
    (root / ".venv" / "bin").mkdir(parents=True)  # where Pulumi looks for Slipway's provider
    names = ("python-build", "python-run", "node-build", "node-run", "envoy")
    bases_lock.save(root, bases_lock.BasesLock("official", {name: f"reg.example/{name}@{DIGEST}" for name in names}))
    service = root / "services" / "api" / "service.toml"
    service.write_text(f"{service.read_text()}\n[scale]\nmin = 2\nmax = 4\n", encoding="utf-8")
    return root


@pytest.fixture(autouse=True)
def registry_without_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every image built: none is in the registry."""
    monkeypatch.setattr(registry, "resolve_digests", lambda refs, _workspace: dict.fromkeys(refs))


@pytest.fixture
def provider() -> Iterator[tuple[Echo, int]]:
    with echo(OUTPUTS) as served:
        yield served


class Deployment:
    """A stack on the real Pulumi, in a state of its own; `steps` has what was done, by type and name."""

    def __init__(self, root: Path, folder: Path, stack: str, port: int, program: Callable[[], None] | None = None):
        self.root = root
        self.stack = stacks.load(root, stack, {})
        (folder / "state").mkdir(exist_ok=True)
        self.door = PulumiStack(
            workspaces.load_workspace(root),
            self.stack,
            program or self.declare_all,
            cli=ensure_tool("pulumi"),
            log=folder / "pulumi.log",
            environment={
                "PULUMI_BACKEND_URL": f"file://{folder}/state",
                "PULUMI_CONFIG_PASSPHRASE": "x",
                "PULUMI_HOME": str(folder / "home"),
                "PULUMI_DEBUG_PROVIDERS": f"docker-build:{port},kubernetes:{port},slipway:{port}",
            },
        )
        self.steps: dict[tuple[str, str], str] = {}

    def declare_all(self) -> None:
        """Do what `invoke deploy` does: run the workspace's own program."""
        gateway = {lock.GATEWAY: f"reg.example/gateway@{DIGEST}"} if self.stack.target == "docker" else {}
        run_infra_program(DeployInputs(workspaces.load_workspace(self.root), self.stack, {}, gateway), {})

    def up(self) -> dict[str, int]:
        """Update the stack and return what was counted."""
        self.steps = {}
        return dict(self.door.up(self.note).operations)

    def note(self, event: EngineEvent) -> None:
        if event.resource_pre_event:
            found = event.resource_pre_event.metadata
            self.steps[found.type, found.urn.rpartition("::")[2]] = operation_of(found.op)

    def preview(self) -> list[str]:
        lines: list[str] = []
        self.door.preview(lambda _event: None, on_output=lines.append)
        return lines

    def automation(self) -> automation.Stack:
        return self.door._open_stack()

    def resources(self) -> list[dict[str, Any]]:
        return list((self.automation().export_stack().deployment or {})["resources"])


def flattened(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a state as versions without components wrote it: every resource is the stack's own child."""
    top = next(each["urn"] for each in resources if each["type"] == "pulumi:pulumi:Stack")
    kept = [each for each in deepcopy(resources) if each["type"] not in COMPONENT_TYPES]
    text = json.dumps(kept)
    for each in kept:
        head, kinds, name = each["urn"].rsplit("::", 2)
        text = text.replace(each["urn"], f"{head}::{kinds.rpartition('$')[2]}::{name}")
    found: list[dict[str, Any]] = json.loads(text)
    for each in found:
        if each["urn"] != top and each.get("parent"):
            each["parent"] = top
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_a_flat_state_becomes_a_tree_and_nothing_is_made_anew(
    generated: Path, tmp_path: Path, provider: tuple[Echo, int], target: str
) -> None:
    served, port = provider
    deployment = Deployment(generated, tmp_path, target, port)
    deployment.up()
    assert ("docker-build:index:Image", "api") in deployment.steps, "an image that is built is one of them"
    tree = deployment.resources()
    flat = flattened(tree)
    assert len(flat) < len(tree) and not any("$" in each["urn"] for each in flat)
    exported = deployment.automation().export_stack()
    exported.deployment = {**(exported.deployment or {}), "resources": flat}
    deployment.automation().import_stack(exported)
    served.created.clear()

    counted = deployment.up()
    components = {which for which in deployment.steps if which[0] in COMPONENT_TYPES}
    assert {deployment.steps[which] for which in components} == {"create"}
    others = {which: step for which, step in deployment.steps.items() if which not in components}
    assert set(others.values()) == {"same"}, {which: step for which, step in others.items() if step != "same"}
    assert set(counted) == {"same"}, "that there are components is no change"
    assert not served.created and not served.changed
    assert {each["urn"] for each in deployment.resources()} == {each["urn"] for each in tree}

    assert set(deployment.up()) == {"same"}
    assert set(deployment.steps.values()) == {"same"}


def test_a_preview_shows_a_tree(generated: Path, tmp_path: Path, provider: tuple[Echo, int]) -> None:
    deployment = Deployment(generated, tmp_path, "kubernetes", provider[1])
    lines = deployment.preview()

    def depth(text: str) -> int:
        line = next(line for line in lines if text in line)
        return len(line) - len(line.lstrip())

    assert depth("BuiltImages: (create)") < depth("docker-build:index:Image: (create)")
    assert depth("KubernetesServices: (create)") < depth("KubernetesService: (create)")
    deployments = next(line for line in lines if "apps/v1:Deployment: (create)" in line)
    assert len(deployments) - len(deployments.lstrip()) > depth("KubernetesService: (create)")


@pytest.mark.parametrize("target", TARGETS)
def test_transforms_change_what_a_target_declares(
    generated: Path, tmp_path: Path, provider: tuple[Echo, int], target: str
) -> None:
    def limit(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        if args.type_ == "slipway:docker:Container":
            return pulumi.ResourceTransformResult({**args.props, "memory": "77m"}, args.opts)
        if args.type_ == "kubernetes:apps/v1:Deployment":
            metadata = {**args.props["metadata"], "annotations": {"team": "payments"}}
            return pulumi.ResourceTransformResult({**args.props, "metadata": metadata}, args.opts)
        return None

    def program() -> None:
        workspace = workspaces.load_workspace(generated)
        images: dict[str, pulumi.Input[str]] = {
            name: f"reg.example/{name}@{DIGEST}" for name in (lock.GATEWAY, "api", "web", "worker")
        }
        stack = stacks.load(generated, target, {})
        declare_services(ServicesArgs(workspace, stack, images), pulumi.ResourceOptions(transforms=[limit]))

    deployment = Deployment(generated, tmp_path, target, provider[1], program)
    deployment.up()
    found = [each["inputs"] for each in deployment.resources() if each["type"].endswith((":Container", ":Deployment"))]
    assert len(found) == (4 if target == "docker" else 3), "a Docker engine has a container for each that [scale] asks"
    for inputs in found:
        assert inputs.get("memory") == "77m" or inputs["metadata"]["annotations"] == {"team": "payments"}
