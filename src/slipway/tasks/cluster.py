"""The verb for a Kubernetes node on this machine, to try things on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context

from slipway.tasks.verb import verb

if TYPE_CHECKING:
    from slipway.toolchain.cluster.node import Status

ACTIONS = "up, down, status"


@verb(
    positional=["action"],
    help={
        "action": "up: start it, or mend it; down: remove it with all that runs in it; status: look at it.",
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
    from slipway.model.errors import ConfigError

    known = {"up": lambda: _up(not no_install, dry), "down": lambda: _down(dry), "status": lambda: _status(json)}
    if action not in known:
        raise ConfigError(f"{action!r} is nothing to do with a cluster", remedy=f"One of: {ACTIONS}.")
    known[action]()


def _up(install: bool, dry: bool) -> None:
    from slipway.flows.report import Lines
    from slipway.tasks import show
    from slipway.toolchain.cluster import node

    if dry:
        steps = node.plan()
        return show.say("\n".join(f"would {step}" for step in steps) if steps else "The cluster is up: nothing to do.")
    with show.progress("Bringing the cluster up") as report:
        changed = node.up(install=install, on_line=Lines(report))
    return _tell(node.status(), "is up" if changed else "was up already")


def _down(dry: bool) -> None:
    from slipway.flows.report import Lines
    from slipway.tasks import show
    from slipway.toolchain.cluster import node

    now = node.status()
    if dry:
        parts = [each.name for each in now.parts if each.pid]
        return show.say(f"would end {', '.join(parts)}, every pod, and remove {now.kubeconfig} and all data")
    with show.progress("Taking the cluster down") as report:
        removed = node.down(on_line=Lines(report))
    return show.say("[green]✔[/] the cluster and its data are gone" if removed else "There is no cluster.")


def _status(as_json: bool) -> None:
    from slipway.tasks import show
    from slipway.toolchain.cluster import node

    now = node.status()
    if as_json:
        return show.as_json(now.as_dict())
    if now.state == "down":
        return show.say("There is no cluster. [bold]invoke cluster up[/] starts one.")
    show.table(("part", "process", "log"), [(each.name, str(each.pid or "gone"), each.log) for each in now.parts])
    if now.state == "broken":
        return show.say("A part is gone, or the node is not ready. [bold]invoke cluster up[/] mends it.")
    return _tell(now, "is up")


def _tell(now: Status, how: str) -> None:
    from slipway.tasks import show

    show.say(
        f"[green]✔[/] Kubernetes {now.version} {how} at {now.server}\n"
        f"  for kubectl         export KUBECONFIG={now.kubeconfig}\n"
        f"  for a stack's file  slipway:target: kubernetes\n"
        f"                      slipway:kubeconfig: {now.kubeconfig}"
    )
