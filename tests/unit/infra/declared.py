"""What a stack on Kubernetes declares, recorded by Pulumi's own mocks instead of a cluster."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi

from slipway._internal.model import lock
from slipway._internal.model import stack as stacks
from slipway._internal.model import workspace as workspaces

DIGEST = "@sha256:" + "d" * 64


@dataclass
class Declared(pulumi.runtime.Mocks):
    """All resources by type and name; each has the outputs that it was given as inputs."""

    urls: dict[str, str] = field(default_factory=dict)
    waited: int = 0
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        kind = args.typ.rpartition(":")[2]
        assert (kind, args.name) not in self.objects
        self.objects[kind, args.name] = args.inputs
        return f"{args.name}-id", {**args.inputs, "text": "0123456789"}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"nothing is asked for: {args.token}")

    def kinds(self, name: str) -> set[str]:
        """Return the kinds of the objects that are registered under a name."""
        return {kind for kind, each in self.objects if each == name}

    def __getitem__(self, which: tuple[str, str]) -> dict[str, Any]:
        return self.objects[which]

    def pod(self, service: str) -> dict[str, Any]:
        """Return the spec of a service's pods."""
        if ("CronJob", service) in self.objects:
            found = self["CronJob", service]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        else:
            found = self["Deployment", service]["spec"]["template"]["spec"]
        assert isinstance(found, dict)
        return found

    def container(self, service: str) -> dict[str, Any]:
        """Return a service's only container."""
        (found,) = self.pod(service)["containers"]
        assert isinstance(found, dict)
        return found

    def manifests(self) -> list[dict[str, Any]]:
        """Return what goes to the API server, as whole objects."""
        return [each for each in self.objects.values() if "apiVersion" in each]


def declare(root: Path, secrets: Mapping[str, Mapping[str, str]] | None = None, name: str = "dev") -> Declared:
    """Return what the workspace's stack declares; images are outputs, as inline ones are."""
    from infra import targets

    workspace = workspaces.load_workspace(root)
    stack = stacks.load(root, name, {})
    declared = Declared()
    pulumi.runtime.set_mocks(declared, project=workspace.name, stack=name)

    def program() -> None:
        images: dict[str, pulumi.Input[str]] = {
            each.name: pulumi.Output.from_input(f"{workspace.repository(each.name)}{DIGEST}")
            for each in workspace.services
        }
        images[lock.GATEWAY] = f"{workspace.release_repository(lock.GATEWAY)}{DIGEST}"
        given = {
            each.name: {key: pulumi.Output.secret(value) for key, value in (secrets or {}).get(each.name, {}).items()}
            for each in workspace.services
        }
        deployed = targets.deploy(workspace, stack, images, given)
        declared.urls, declared.waited = deployed.urls, len(deployed.resources)

    pulumi.runtime.test(program)()
    return declared


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()


def login_of(secret: Mapping[str, Any]) -> dict[str, Any]:
    """Return the registries of a pull secret, each with user and password."""
    auths = json.loads(decoded(secret["data"][".dockerconfigjson"]))["auths"]
    return {host: decoded(each["auth"]) for host, each in auths.items()}
