"""Commands of a user's on a cluster: in a pod of a service, or in one of their own beside it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from slipway._internal.commands.kubectl import COMMAND_LABEL
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.run import attach
from slipway._internal.run.cluster import Cluster
from slipway._internal.run.kubernetes_objects import ContainerStatus, Pod
from slipway._internal.targets.kubernetes import pod_status
from slipway._internal.targets.kubernetes.logs import no_pod_error
from slipway._internal.targets.kubernetes.snapshot import ClusterSnapshot

NEVER_READY = {"conditionType": "slipway.dev/serves"}
"""A readiness gate that nobody opens: the pod has a service's labels, for its NetworkPolicies, and gets no requests."""
START_SECONDS, POLL_SECONDS = 300.0, 0.3
"""How long the pod of a command may take to start, and how often it is looked whether it has."""
UNSCHEDULABLE = "Unschedulable"
"""Why a pod waits that may find a place yet."""
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
    return cluster.exec_command(running[-1].metadata.name, service, command, terminal=attach.is_interactive())


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
        owner = cluster.find_object("statefulset" if service in snapshot.stateful else "deployment", service, dict)
        template = owner and owner["spec"]["template"]
    else:
        raise no_pod_error(snapshot, stack, service)
    if not template:
        raise ConfigError(f"{service} was removed from {stack.name} just now", remedy="Deploy it again.")
    terminal = attach.is_interactive()
    name = f"{service}-run-{secrets.token_hex(4)}"
    try:
        cluster.create_object(command_pod(template, name, service, command, terminal=terminal))
        if _wait_for_container(cluster, name, service, started=True).state.running and terminal:
            cluster.attach(name, service)
        else:  # kubectl attach shows nothing of what was written before it came
            with cluster.passing_input(name, service):
                cluster.print_log(name, service)
        terminated = _wait_for_container(cluster, name, service, started=False).state.terminated
        return terminated.exit_code if terminated else 1
    finally:
        with suppress(SlipwayError):  # what went wrong first is what the user must hear
            cluster.delete_pod(name)


def _wait_for_container(cluster: Cluster, pod: str, service: str, *, started: bool) -> ContainerStatus:
    """Return what a pod's container is once it has started, or once it has ended.

    Raises:
        SlipwayError: it cannot start, its pod was removed, or it takes too long.
    """
    end = time.monotonic() + START_SECONDS
    while True:
        found = cluster.find_object("pod", pod, Pod)
        if found is None:
            raise SlipwayError(f"the pod {pod} was removed before its command had ended")
        for status in found.status.container_statuses:
            if status.name == service and (status.state.terminated or (started and status.state.running)):
                return status
        problem = pod_status.find_pod_problem(found)
        if problem and (problem.reason != UNSCHEDULABLE or time.monotonic() > end):
            raise SlipwayError(
                f"the command of {service} cannot start: {problem.reason}", detail=problem.message or pod
            )
        if started and time.monotonic() > end:
            raise SlipwayError(f"the pod {pod} has not started within {START_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def command_pod(
    template: Mapping[str, Any], name: str, service: str, command: Sequence[str], *, terminal: bool
) -> dict[str, Any]:
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
        "kind": "Pod",
        "metadata": {"name": name, "labels": {**labels, COMMAND_LABEL: "true"}},
        "spec": {
            **{key: value for key, value in spec.items() if key != "topologySpreadConstraints"},
            "restartPolicy": "Never",
            "readinessGates": [NEVER_READY],
            "containers": [
                {**own, "command": list(command), "stdin": True, "stdinOnce": True, "tty": terminal},
            ],
        },
    }
