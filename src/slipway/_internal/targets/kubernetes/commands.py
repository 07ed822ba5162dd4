"""Commands of a user's on a cluster: in a pod of a service, or in one of their own beside it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from slipway._internal.commands.kubectl import COMMAND_LABEL
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.run import attach
from slipway._internal.run.cluster import Cluster
from slipway._internal.targets.kubernetes import pod_status
from slipway._internal.targets.kubernetes.logs import no_pod_error
from slipway._internal.targets.kubernetes.snapshot import ClusterSnapshot

NEVER_READY = {"conditionType": "slipway.dev/serves"}
"""A readiness gate that nobody opens: the pod has a service's labels, for its NetworkPolicies, and gets no requests."""
SERVING_KEYS = frozenset({"args", "lifecycle", "livenessProbe", "ports", "readinessProbe", "startupProbe"})
"""What a container that serves has, and one that runs a command has not."""


def exec_command(
    cluster: Cluster, snapshot: ClusterSnapshot, stack: Stack, service: str, command: Sequence[str]
) -> int:
    """Run a command in the newest pod of a service that runs; return its exit status.

    Raises:
        ConfigError: no pod of it runs.
    """
    running = [
        pod
        for pod in pod_status.active_pods(snapshot.pods.get(service, []))
        if any(status.name == service and status.state.running for status in pod.status.container_statuses)
    ]
    if not running:
        raise no_pod_error(snapshot, stack, service)
    newest = max(running, key=lambda pod: str(pod.metadata.creation_timestamp))
    return cluster.exec_command(newest.metadata.name, service, command, terminal=attach.is_interactive())


def run_command(cluster: Cluster, snapshot: ClusterSnapshot, stack: Stack, service: str, command: Sequence[str]) -> int:
    """Run a command in a pod that is made as those of a service are, and return its exit status.

    Raises:
        ConfigError: the service is not there.
        SlipwayError: the cluster cannot be asked.
    """
    if service in snapshot.cron_jobs:
        owner = cluster.find_object("cronjob", service, dict)
        template = owner and owner["spec"]["jobTemplate"]["spec"]["template"]
    elif service in snapshot.deployments:
        owner = cluster.find_object("deployment", service, dict)
        template = owner and owner["spec"]["template"]
    else:
        raise no_pod_error(snapshot, stack, service)
    if not template:
        raise ConfigError(f"{service} was removed from {stack.name} just now", remedy="Deploy it again.")
    terminal = attach.is_interactive()
    name = f"{service}-run-{secrets.token_hex(4)}"
    return cluster.run_pod(name, command_pod(template, service, command, terminal=terminal), terminal=terminal)


def command_pod(template: Mapping[str, Any], service: str, command: Sequence[str], *, terminal: bool) -> dict[str, Any]:
    """Return the manifest of a pod made from a service's template, which runs a command to its end.

    Raises:
        SlipwayError: the template has no container of the service's name.
    """
    spec = template["spec"]
    container = next((each for each in spec["containers"] if each["name"] == service), None)
    if container is None:
        raise SlipwayError(f"the pods of {service} have no container of that name")
    own = {key: value for key, value in container.items() if key not in SERVING_KEYS}
    labels = template.get("metadata", {}).get("labels", {})
    return {
        "apiVersion": "v1",
        "metadata": {"labels": {**labels, COMMAND_LABEL: "true"}},
        "spec": {
            **{key: value for key, value in spec.items() if key != "topologySpreadConstraints"},
            "restartPolicy": "Never",
            "readinessGates": [NEVER_READY],
            "containers": [
                {**own, "command": list(command), "stdin": True, "stdinOnce": True, "tty": terminal},
            ],
        },
    }
