"""A stack on the node, as its team sees it: its settings, what runs, and the releases."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.e2e.workspace import Workspace
from tests.kubernetes.world import Cluster

from slipway._internal.model.project import Project
from slipway._internal.run.state import local_state_folder, state_file

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
START_SECONDS = 30
"""How long the API may take to start: half of what a service may."""


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


def uids(cluster: Cluster, service: str = "") -> set[str]:
    """Return who the pods are that are to stay, of all services or of one."""
    selector = f"app.kubernetes.io/name={service}" if service else ""
    return {each["metadata"]["uid"] for each in cluster.pods(NAMESPACE, selector)}


def deployed(workspace: Workspace, cluster: Cluster) -> tuple[Any, ...]:
    """Return what changes when anybody deploys, by Slipway or by hand; a pod that is replaced changes nothing."""
    state = state_file(local_state_folder(Project(workspace.root)), NAME, STACK)
    known = hashlib.sha256(state.read_bytes()).hexdigest() if state.is_file() else ""
    found = [each["metadata"] for each in cluster.get("deployments", "--namespace", NAMESPACE)["items"]]
    interrupted = sorted(path.name for path in (workspace.root / ".slipway" / "run").glob("deploy-*"))
    return known, {each["uid"]: each["generation"] for each in found}, interrupted
