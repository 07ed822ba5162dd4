"""A stack on the node, as its team sees it: its settings, what runs, and the releases."""

from __future__ import annotations

from typing import Any

from tests.e2e.workspace import Workspace
from tests.kubernetes.world import Cluster

NAME = "slipway-k8s"
STACK, NAMESPACE = "staging", f"{NAME}-staging"
HERE = ("--stack", STACK)
SETTINGS = """\
config:
  slipway:images: {mode}
  slipway:target: kubernetes
  slipway:protected: {protected}
  slipway:kubeconfig: {kubeconfig}
"""
SERVICES = ["api", "web", "worker"]


def settings(workspace: Workspace, cluster: Cluster, mode: str, *, stack: str = STACK, protected: bool = False) -> None:
    """Let a stack run on the node."""
    text = SETTINGS.format(mode=mode, protected=str(protected).lower(), kubeconfig=cluster.kubeconfig)
    (workspace.root / "infra" / f"Pulumi.{stack}.yaml").write_text(text, encoding="utf-8")


def status(workspace: Workspace, *words: str) -> dict[str, dict[str, Any]]:
    """Return what `invoke status --json` says, by service."""
    return {row["service"]: row for row in workspace.invoke("status", "--json", *(words or HERE)).json()}


def releases(workspace: Workspace) -> list[dict[str, Any]]:
    return list(workspace.invoke("releases", "--json", *HERE).json())


def image(cluster: Cluster, service: str) -> str:
    """Return the image that a service's Deployment wants."""
    found = cluster.get("deployment", service, "--namespace", NAMESPACE)
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])


def uids(cluster: Cluster) -> set[str]:
    """Return who the pods are that are to stay."""
    return {each["metadata"]["uid"] for each in cluster.pods(NAMESPACE)}
