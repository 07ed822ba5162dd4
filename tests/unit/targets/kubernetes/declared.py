"""What a stack declares on its target, recorded by Pulumi's own mocks instead of a cluster or an engine."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pulumi

from slipway._internal.model import lock
from slipway._internal.model import stack as stacks
from slipway._internal.model import workspace as workspaces
from slipway._internal.model.canary import canary_image_name
from slipway.pulumi import Live, ServicesArgs, declare_services

DIGEST = "@sha256:" + "d" * 64


@dataclass
class Declared(pulumi.runtime.Mocks):
    """All resources by type and name; each has the outputs that it was given as inputs.

    `tree` has what each is a part of, `after` what each waits for, `flat` whether it is known by where earlier versions
    declared it, and `waited` what is in place before the release is the one that runs.
    """

    urls: Mapping[str, str] = field(default_factory=dict)
    waited: set[tuple[str, str]] = field(default_factory=set)
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    tree: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    after: dict[tuple[str, str], set[tuple[str, str]]] = field(default_factory=dict)
    flat: set[tuple[str, str]] = field(default_factory=set)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        kind = args.typ.rpartition(":")[2]
        if not args.custom:
            return None, {}
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


class RecordingMonitor(pulumi.runtime.mocks.MockMonitor):
    """Notes what each resource is a part of, and what it waits for."""

    mocks: Declared

    def RegisterResource(self, request: Any) -> Any:
        which = request.type.rpartition(":")[2], request.name
        self.mocks.tree[which] = which_of(request.parent)
        self.mocks.after[which] = {which_of(urn) for urn in request.dependencies}
        if any(alias.spec.noParent for alias in request.aliases):
            self.mocks.flat.add(which)
        if which[0] == "Live":
            self.mocks.waited = {which_of(urn) for urn in request.dependencies}
        return super().RegisterResource(request)


def which_of(urn: str) -> tuple[str, str]:
    """Return the kind and the name in a URN; that of the stack itself is empty."""
    if not urn or "pulumi:pulumi:Stack" in urn.split("::")[2].rsplit("$", maxsplit=1)[-1]:
        return "", ""
    kinds, name = urn.split("::")[2:]
    return kinds.rpartition(":")[2], name


def declare(
    root: Path,
    secrets: Mapping[str, Mapping[str, str]] | None = None,
    name: str = "dev",
    opts: pulumi.ResourceOptions | None = None,
    **state: Any,
) -> Declared:
    """Return what the workspace's stack declares, in a `state` of the run; images are outputs, as inline ones are."""
    workspace = workspaces.load_workspace(root)
    stack = replace(stacks.load(root, name, {}), **state)
    declared = Declared()
    monitor = RecordingMonitor(declared)
    pulumi.runtime.set_mocks(declared, project=workspace.name, stack=name, monitor=monitor)

    def program() -> None:
        images: dict[str, pulumi.Input[str]] = {
            each.name: pulumi.Output.from_input(f"{workspace.repository(each.name)}{DIGEST}")
            for each in workspace.services
        }
        images |= {canary_image_name(each.service): each.image for each in stack.canaries or ()}
        images[lock.GATEWAY] = f"{workspace.release_repository(lock.GATEWAY)}{DIGEST}"
        given = {
            each.name: {key: pulumi.Output.secret(value) for key, value in (secrets or {}).get(each.name, {}).items()}
            for each in workspace.services
        }
        deployed = declare_services(ServicesArgs(workspace, stack, images, given), opts)
        Live("record", release={}, opts=pulumi.ResourceOptions(depends_on=deployed.resources))
        declared.urls = deployed.urls

    pulumi.runtime.test(program)()
    del declared.objects["Live", "record"], declared.tree["Live", "record"]
    return declared


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()


def login_of(secret: Mapping[str, Any]) -> dict[str, Any]:
    """Return the registries of a pull secret, each with user and password."""
    auths = json.loads(decoded(secret["data"][".dockerconfigjson"]))["auths"]
    return {host: decoded(each["auth"]) for host, each in auths.items()}
