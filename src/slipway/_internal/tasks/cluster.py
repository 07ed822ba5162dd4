"""The verb for a Kubernetes node on this machine, to try things on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context

from slipway._internal.tasks.verb import verb

if TYPE_CHECKING:
    from slipway._internal.toolchain.cluster.node import NodeStatus

ACTIONS = "up, down, status"


@verb(
    positional=["action"],
    help={
        "action": "up: start or repair it; down: remove it with all that runs in it; status: show its state.",
        "no-install": "With up: install nothing, and say what is missing.",
        "json": "With status: print it as JSON.",
        "dry": "With up or down: say what would be done, and do nothing.",
    },
)
def cluster(context: Context, action: str, no_install: bool = False, json: bool = False, dry: bool = False) -> None:
    """A Kubernetes node on this machine, to try things on: invoke cluster up|down|status.

    Real etcd, API server, scheduler, kubelet, containerd, kube-proxy, DNS and the Gateway API's kinds, for root on
    Linux. It listens on this machine alone, and pulls images from registries on loopback addresses as they are.
    It enforces no NetworkPolicy, measures nothing for autoscalers and has no Gateway controller.
    """
    from slipway._internal.model.errors import ConfigError

    actions = {
        "up": lambda: _start_cluster(not no_install, dry),
        "down": lambda: _remove_cluster(dry),
        "status": lambda: _show_status(json),
    }
    if action not in actions:
        raise ConfigError(f"unknown action {action!r}", remedy=f"One of: {ACTIONS}.")
    actions[action]()


def _start_cluster(install: bool, dry: bool) -> None:
    from slipway._internal.context.reporter import ToolLineReporter
    from slipway._internal.tasks import show
    from slipway._internal.toolchain.cluster import node

    if dry:
        steps = node.plan_start()
        return show.say("\n".join(f"would {step}" for step in steps) if steps else "The cluster is up: nothing to do.")
    with show.progress("Bringing the cluster up") as reporter:
        changed = node.bring_up(install=install, on_line=ToolLineReporter(reporter))
    return _say_running(node.read_status(), "is up" if changed else "was up already")


def _remove_cluster(dry: bool) -> None:
    from slipway._internal.context.reporter import ToolLineReporter
    from slipway._internal.tasks import show
    from slipway._internal.toolchain.cluster import node

    cluster_status = node.read_status()
    if dry:
        parts = [part.name for part in cluster_status.parts if part.pid]
        return show.say(f"would end {', '.join(parts)}, every pod, and remove {cluster_status.kubeconfig} and all data")
    with show.progress("Taking the cluster down") as reporter:
        removed = node.tear_down(on_line=ToolLineReporter(reporter))
    return show.say("[green]✔[/] the cluster and its data are gone" if removed else "There is no cluster.")


def _show_status(as_json: bool) -> None:
    from slipway._internal.tasks import show
    from slipway._internal.toolchain.cluster import node

    cluster_status = node.read_status()
    if as_json:
        return show.as_json(cluster_status.as_dict())
    if cluster_status.state == "down":
        return show.say("There is no cluster. [bold]invoke cluster up[/] starts one.")
    show.table(
        ("part", "process", "log"), [(part.name, str(part.pid or "gone"), part.log) for part in cluster_status.parts]
    )
    if cluster_status.state == "broken":
        return show.say("A part is missing, or the node is not ready. [bold]invoke cluster up[/] repairs it.")
    return _say_running(cluster_status, "is up")


def _say_running(cluster_status: NodeStatus, state: str) -> None:
    from slipway._internal.tasks import show

    show.say(
        f"[green]✔[/] Kubernetes {cluster_status.version} {state} at {cluster_status.server}\n"
        f"  for kubectl         export KUBECONFIG={cluster_status.kubeconfig}\n"
        f"  for a stack's file  slipway:target: kubernetes\n"
        f"                      slipway:kubeconfig: {cluster_status.kubeconfig}"
    )
