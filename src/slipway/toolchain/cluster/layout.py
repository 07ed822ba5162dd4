"""Where the node keeps its files, and the addresses that it takes: everything else of this package reads them here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slipway.toolchain.paths import state_path

NODE = "slipway"
DOMAIN = "cluster.local"
BRIDGE = "slipway0"
GATEWAY = "10.211.0.1"
"""The bridge's address: the pods' way out, the node's own address, and what the API server and DNS listen on."""
PODS = "10.211.0.0/20"
SERVICES = "10.212.0.0/16"
API_SERVICE = "10.212.0.1"
API_PORT, KUBELET_PORT = 6443, 10250
ETCD, ETCD_PEERS, ETCD_HEALTH = 12379, 12380, 12381
KUBELET_HEALTH, PROXY_METRICS, PROXY_HEALTH, MANAGER, SCHEDULER, DNS_HEALTH = 10248, 10249, 10256, 10257, 10259, 10281
RUN = Path("/run/slipway-cluster")
"""Sockets, whose paths must stay short, and the mark that this machine has a cluster."""
OWNER = RUN / "home"


@dataclass(frozen=True)
class Layout:
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
        return RUN / "containerd.sock"

    @property
    def saved(self) -> Path:
        """The kernel's settings as they were before."""
        return self.home / "sysctl.json"

    def part(self, name: str) -> Path:
        """Return the folder of a part."""
        return self.home / name


def layout() -> Layout:
    """Return the layout of this user's node (`XDG_STATE_HOME` is honoured)."""
    return Layout(state_path("cluster"))
