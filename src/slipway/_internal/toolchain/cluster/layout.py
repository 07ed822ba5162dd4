"""Where the node keeps its files, and the addresses that it takes: everything else of this package reads them here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slipway._internal.toolchain.paths import state_path

NODE_NAME = "slipway"
CLUSTER_DOMAIN = "cluster.local"
BRIDGE_NAME = "slipway0"
NODE_ADDRESS = "10.211.0.1"
"""The bridge's address: the pods' way out, the node's own address, and what the API server and DNS listen on."""
POD_CIDR = "10.211.0.0/20"
SERVICE_CIDR = "10.212.0.0/16"
API_SERVICE_ADDRESS = "10.212.0.1"
API_PORT, KUBELET_PORT = 6443, 10250
ETCD_PORT, ETCD_PEER_PORT, ETCD_HEALTH_PORT = 12379, 12380, 12381
KUBELET_HEALTH_PORT, PROXY_METRICS_PORT, PROXY_HEALTH_PORT, CONTROLLER_MANAGER_PORT, SCHEDULER_PORT, DNS_HEALTH_PORT = (
    10248,
    10249,
    10256,
    10257,
    10259,
    10281,
)
RUNTIME_FOLDER = Path("/run/slipway-cluster")
"""Sockets, whose paths must stay short, and the mark that this machine has a cluster."""
CLUSTER_OWNER_FILE = RUNTIME_FOLDER / "home"


@dataclass(frozen=True)
class NodeLayout:
    """The folders of one node; each part has its log and pid file in a folder of its own below `home`."""

    home: Path

    @property
    def certificates(self) -> Path:
        """Keys and certificates of every part."""
        return self.home / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's way in."""
        return self.home / "kubeconfig"

    @property
    def socket(self) -> Path:
        """Where containerd listens."""
        return RUNTIME_FOLDER / "containerd.sock"

    @property
    def saved_settings(self) -> Path:
        """The kernel's settings as they were before."""
        return self.home / "sysctl.json"

    def component_folder(self, name: str) -> Path:
        """Return the folder of a part."""
        return self.home / name


def node_layout() -> NodeLayout:
    """Return the layout of this user's node (`XDG_STATE_HOME` is honoured)."""
    return NodeLayout(state_path("cluster"))
