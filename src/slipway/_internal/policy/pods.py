"""The pods that a resource of Kubernetes makes, and the containers in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from slipway._internal.commands.kubectl import NAME_LABEL
from slipway._internal.policy.rule import Resource, where_declared

POD_TEMPLATE_PATHS: dict[str, tuple[str, ...]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"), ("spec", "template")
    ),
}
"""The kinds that make pods, and where the pod stands in each."""
_KUBERNETES_KIND = re.compile(r"kubernetes:(?:core|apps|batch|extensions)/[^:]+:(\w+)")
RELEASE_COMMAND = "slipway:kubernetes:ReleaseCommand"
"""The kind that makes a Job, which is its `job`."""

Props = Mapping[str, Any]


def pod_spec(resource: Resource) -> Props | None:
    """Return the `spec` of the pods that a resource makes; None for a resource that makes none."""
    template = _pod_template(resource)
    return None if template is None else child_mapping(template, "spec")


def containers(resource: Resource) -> Iterator[Props]:
    """Yield each container of a resource's pods, also those that only run before or beside the others."""
    spec = pod_spec(resource)
    for key in ("initContainers", "containers", "ephemeralContainers"):
        yield from (spec or {}).get(key) or ()


def service_of(resource: Resource) -> str:
    """Return the name of the service that a resource's pods are of, by their label."""
    labels = child_mapping(child_mapping(_pod_template(resource) or {}, "metadata"), "labels")
    return str(labels.get(NAME_LABEL) or resource.name)


def describe_location(resource: Resource, key: str, settings: str = "") -> str:
    """Return the words for where a pod's key is set: in `settings` of service.toml if that has it, else in infra/."""
    service = service_of(resource)
    if settings and resource.service(service):
        return f"in services/{service}/service.toml: {settings}"
    return f"`{key}` {where_declared(resource.name)}"


def child_mapping(props: Props, key: str) -> Props:
    """Return what stands below a key; nothing where the key is missing."""
    return props.get(key) or {}


def _pod_template(resource: Resource) -> Props | None:
    if resource.kind == RELEASE_COMMAND:
        return child_mapping(child_mapping(child_mapping(resource.props, "job"), "spec"), "template")
    found = _KUBERNETES_KIND.fullmatch(resource.kind)
    if found is None or found[1] not in POD_TEMPLATE_PATHS:
        return None
    node = resource.props
    for key in POD_TEMPLATE_PATHS[found[1]]:
        node = child_mapping(node, key)
    return node
