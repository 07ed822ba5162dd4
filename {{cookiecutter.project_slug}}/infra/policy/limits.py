"""The rule of limits: no container takes all of a machine's memory or processors from the others."""

from __future__ import annotations

from collections.abc import Iterator

from slipway.policy import Resource, Violation, child_mapping, containers, describe_location, where_declared

DOCKER_CONTAINERS = tuple(f"slipway:docker:{kind}" for kind in ("Container", "Job", "ReleaseCommand"))
EXAMPLES = {"memory": '"256m"', "cpus": "1.0"}
KUBERNETES_LIMITS = {"memory": "memory", "cpu": "cpus"}
"""How Kubernetes calls a limit, and how service.toml does."""


def check_limits(resource: Resource) -> Iterator[Violation]:
    """Refuse a container without a limit of memory or of processors.

    In every stack, protected or not: a limit that is missing in development is found missing in production.
    """
    if resource.kind in DOCKER_CONTAINERS:
        service = resource.props.get("service")
        for key, example in EXAMPLES.items():
            if not resource.props.get(key):
                known = resource.service(service)
                location = (
                    f"in services/{service}/service.toml: [resources] {key} = {example}"
                    if known
                    else f"`{key}` {where_declared(resource.name)}"
                )
                yield Violation(f"{resource.name} has no limit of `{key}`", f"Give it one {location}.")
    for container in containers(resource):
        limits = child_mapping(child_mapping(container, "resources"), "limits")
        for key, setting in KUBERNETES_LIMITS.items():
            if not limits.get(key):
                location = describe_location(
                    resource, f"resources.limits.{key}", f"[resources] {setting} = {EXAMPLES[setting]}"
                )
                name = container.get("name")
                yield Violation(
                    f"the container {name} of {resource.name} has no limit of `{key}`", f"Give it {location}."
                )
