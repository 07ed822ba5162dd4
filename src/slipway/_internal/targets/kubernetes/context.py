"""A stack's cluster and namespace, and the names and labels of its objects there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import pulumi
from pulumi_kubernetes import Provider
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from slipway._internal.commands.kubectl import NAME_LABEL, PART_OF_LABEL, STACK_LABEL
from slipway._internal.model.canary import canary_object_name
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.stack import Stack, namespace_of
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.run.owner import owner_of
from slipway._internal.run.resource_tree import FLAT_STATE

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The label that Kubernetes sets on each namespace to the namespace's name."""
POD_SECURITY_LEVEL = "restricted"
"""The Pod Security Standard that the namespace enforces."""
PATCH_FORCE = {"pulumi.com/patchForce": "true"}
"""What tells Pulumi's plugin to set an object's fields whoever else has set them. Since 4.29 the plugin has an option
for that; the one that is built where Pulumi's download is out of reach is older, and knows the annotation alone."""

NO_ANNOTATIONS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class KubernetesContext:
    """A stack's namespace in its cluster. Objects belong to `parent` and wait for `prerequisites`: the namespace."""

    workspace: Workspace
    stack: Stack
    namespace: str
    provider: Provider
    parent: pulumi.Resource
    prerequisites: tuple[pulumi.Resource, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """The labels of all objects of the stack."""
        return {
            PART_OF_LABEL: self.workspace.deployed_name,
            "app.kubernetes.io/managed-by": "slipway",
            STACK_LABEL: self.stack.name,
        }

    def metadata(self, name: pulumi.Input[str]) -> ObjectMetaArgs:
        """Return the metadata of an object in the namespace."""
        return ObjectMetaArgs(name=name, namespace=self.namespace, labels=self.labels, annotations=PATCH_FORCE)

    def cluster_metadata(self, name: str) -> ObjectMetaArgs:
        """Return the metadata of a cluster-wide object."""
        return ObjectMetaArgs(name=name, labels=self.labels, annotations=PATCH_FORCE)

    def opts(
        self, after: Sequence[pulumi.Resource] = (), parent: pulumi.Resource | None = None
    ) -> pulumi.ResourceOptions:
        """Return the options of a resource in this cluster, created after the namespace and `after`."""
        return pulumi.ResourceOptions(
            parent=parent or self.parent,
            aliases=[FLAT_STATE],
            provider=self.provider,
            depends_on=[*self.prerequisites, *after],
        )


@dataclass(frozen=True)
class ServiceContext:
    """One service in a stack's namespace: its objects are named after it, and belong to `parent`.

    `is_canary`: these are the objects of its canary, under a name of their own.
    """

    stack_ctx: KubernetesContext
    service: Service
    parent: pulumi.Resource
    is_canary: bool = False

    @property
    def name(self) -> str:
        return canary_object_name(self.service.name) if self.is_canary else self.service.name

    @property
    def selector(self) -> dict[str, str]:
        """The labels that select the service's pods; they never change."""
        return pod_selector(self.stack_ctx, self.name)

    @property
    def labels(self) -> dict[str, str]:
        return {**self.stack_ctx.labels, **self.selector}

    def metadata(
        self, name: pulumi.Input[str] | None = None, annotations: Mapping[str, str] = NO_ANNOTATIONS
    ) -> ObjectMetaArgs:
        """Return the metadata of one of the service's objects; its default name is the service's."""
        return ObjectMetaArgs(
            name=name or self.name,
            namespace=self.stack_ctx.namespace,
            labels=self.labels,
            annotations={**PATCH_FORCE, **annotations},
        )

    def opts(self, after: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        """Return the options of one of the service's objects; a canary's stay as they began, whatever files say."""
        opts = self.stack_ctx.opts(after, self.parent)
        if not self.is_canary:
            return opts
        return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=["*"]))


def pod_selector(stack_ctx: KubernetesContext, service: str) -> dict[str, str]:
    """Return the labels that select the pods of a service of the stack."""
    return {NAME_LABEL: service, PART_OF_LABEL: stack_ctx.workspace.deployed_name}


def declare_namespace(workspace: Workspace, stack: Stack, parent: pulumi.Resource) -> KubernetesContext:
    """Declare the stack's namespace and its cluster's provider as children of `parent`.

    Raises:
        ConfigError: the namespace's name is invalid, or slipway:kubeconfig names no file.
    """
    stack_ctx = KubernetesContext(
        workspace, stack, namespace_of(workspace.deployed_name, stack), _cluster_provider(stack, parent), parent
    )
    security_labels = {
        f"pod-security.kubernetes.io/{mode}": POD_SECURITY_LEVEL for mode in ("enforce", "warn", "audit")
    }
    versions = {f"{label}-version": "latest" for label in security_labels}
    metadata = ObjectMetaArgs(
        name=stack_ctx.namespace,
        labels={**stack_ctx.labels, **security_labels, **versions},
        annotations={**PATCH_FORCE, **owner_of(workspace.project).labels},
    )
    # A namespace that goes takes the volumes in it along.
    keeps_data = any(service.is_stateful and service.name not in stack.external for service in workspace.services)
    opts = pulumi.ResourceOptions.merge(stack_ctx.opts(), pulumi.ResourceOptions(retain_on_delete=keeps_data))
    namespace = Namespace(stack_ctx.namespace, metadata=metadata, opts=opts)
    return replace(stack_ctx, prerequisites=(namespace,))


def _cluster_provider(stack: Stack, parent: pulumi.Resource) -> Provider:
    """Return the provider for the stack's cluster.

    A deploy overrides changes that others made to declared fields (`kubectl edit`). It does not override an
    autoscaler's number of replicas, as none is declared then. The pull secret changes in place, because a replaced one
    would be missing for a moment. The cluster is identified by its context, not by the kubeconfig's path: otherwise
    another path on another machine would recreate all objects.
    """
    if stack.kubeconfig and not Path(stack.kubeconfig).is_file():
        raise ConfigError(
            f"{stack.file}: slipway:kubeconfig is {stack.kubeconfig}, which is not a file",
            remedy="Correct it, or remove the line to use KUBECONFIG or ~/.kube/config.",
        )
    return Provider(
        stack.name,
        kubeconfig=stack.kubeconfig,
        context=stack.context,
        cluster_identifier=stack.context or "current",
        enable_patch_force=True,
        # None defers to the user's PULUMI_K8S_UPSERT_EXISTING_OBJECTS.
        upsert_existing_objects=stack.adopts_existing or None,
        enable_secret_mutable=True,
        opts=pulumi.ResourceOptions(parent=parent, aliases=[FLAT_STATE]),
    )
