"""The node's components in start order: files, command and readiness check of each."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slipway._internal.run.process_environment import NO_PROXY_VARIABLES
from slipway._internal.toolchain import background
from slipway._internal.toolchain.cluster import api, config
from slipway._internal.toolchain.cluster import layout as at
from slipway._internal.toolchain.cluster.layout import NodeLayout
from slipway._internal.toolchain.install import ensure_tool

TOOLS = ("kubernetes", "etcd", "coredns", "cni-plugins", "gateway-api", "kubectl")
RESOLV_CONF = Path("/etc/resolv.conf")
START_SECONDS = 90.0
START_ORDER = (
    "containerd",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "coredns",
    "kubelet",
    "kube-proxy",
)
"""In the order of their start."""
STOP_ORDER = ("kubelet", "kube-proxy", "coredns", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")
"""In the order of their end; containerd is last, when its containers are gone."""

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class Component:
    """One process of the node. `files` are written to its folder before it starts."""

    name: str
    argv: list[str]
    ready: Callable[[], bool]
    files: Mapping[str, str] = field(default_factory=dict)


def plan_components(layout: NodeLayout, tools: Mapping[str, Path], sandbox: str) -> list[Component]:
    """Return every part; `tools` are the paths that `ensure_tools` returned."""

    def kubernetes_component(
        name: str, arguments: list[str], ready: Callable[[], bool], files: Mapping[str, str] | None = None
    ) -> Component:
        kubeconfig_files = {"kubeconfig": config.kubeconfig(layout, name), **(files or {})}
        return Component(name, [str(tools["kubernetes"].with_name(name)), *arguments], ready, kubeconfig_files)

    home = layout.component_folder("containerd")
    proxy, dns = layout.component_folder("kube-proxy"), layout.component_folder("coredns")
    return [
        Component(
            "containerd",
            ["containerd", "--config", str(home / "config.toml")],
            lambda: _is_listening(layout.socket),
            {
                "config.toml": config.containerd_config(home, tools["cni-plugins"].parent, sandbox),
                "cni/10-slipway.conflist": config.cni_config(home),
            },
        ),
        Component(
            "etcd",
            [str(tools["etcd"]), *config.etcd_arguments(layout)],
            lambda: api.is_healthy(f"http://127.0.0.1:{at.ETCD_HEALTH_PORT}/health"),
        ),
        Component(
            "kube-apiserver",
            [str(tools["kubernetes"].with_name("kube-apiserver")), *config.api_server_arguments(layout)],
            lambda: api.is_api_ready(layout),
        ),
        kubernetes_component(
            "kube-controller-manager",
            config.controller_manager_arguments(layout),
            lambda: api.is_healthy(f"https://127.0.0.1:{at.CONTROLLER_MANAGER_PORT}/healthz"),
        ),
        kubernetes_component(
            "kube-scheduler",
            config.scheduler_arguments(layout),
            lambda: api.is_healthy(f"https://127.0.0.1:{at.SCHEDULER_PORT}/healthz"),
        ),
        Component(
            "coredns",
            [str(tools["coredns"]), "-conf", str(dns / "Corefile")],
            lambda: api.is_healthy(f"http://127.0.0.1:{at.DNS_HEALTH_PORT}/health"),
            {
                "Corefile": config.corefile(layout, _has_nameserver()),
                "kubeconfig": config.kubeconfig(layout, "coredns"),
            },
        ),
        kubernetes_component(
            "kubelet",
            config.kubelet_arguments(layout),
            lambda: api.is_healthy(f"http://127.0.0.1:{at.KUBELET_HEALTH_PORT}/healthz"),
            {"config.json": config.kubelet_config(layout)},
        ),
        kubernetes_component(
            "kube-proxy",
            [f"--config={proxy / 'config.json'}"],
            lambda: api.is_healthy(f"http://127.0.0.1:{at.PROXY_HEALTH_PORT}/healthz"),
            {"config.json": config.kube_proxy_config(layout)},
        ),
    ]


def ensure_tools(*, install: bool, on_line: OnLine | None) -> dict[str, Path]:
    """Return the path of each tool's first binary, getting what is missing.

    Raises:
        SlipwayError: one cannot be had.
    """
    return {name: ensure_tool(name, install=install, on_line=on_line) for name in TOOLS}


def start_component(layout: NodeLayout, component: Component, on_line: OnLine) -> bool:
    """Start a part that does not run, wait until it is ready, and return whether it had to be started.

    Raises:
        SlipwayError: it did not start; its log's last lines and the log's path are in the error.
    """
    folder = layout.component_folder(component.name)
    needs_start = background.find_running(folder) is None
    if needs_start:
        on_line(f"{component.name}: starting it")
        for name, text in component.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file.touch(mode=0o600)
            file.write_text(text, encoding="utf-8")
        background.launch_daemon(folder, component.argv, env=no_proxy_environment())
    background.wait_until_ready(
        component.ready,
        folder,
        component.name,
        seconds=START_SECONDS,
        on_line=on_line,
        remedy="The log says why. `invoke cluster down` removes everything, for a fresh start.",
    )
    return needs_start


def no_proxy_environment() -> dict[str, str]:
    """Return what keeps the node's parts from asking a company's proxy for each other, where there is one."""
    exceptions = background.daemon_environment().get("no_proxy")
    cluster_addresses = f"{at.POD_CIDR},{at.SERVICE_CIDR},.svc,.cluster.local"
    return dict.fromkeys(NO_PROXY_VARIABLES, f"{exceptions},{cluster_addresses}") if exceptions else {}


def find_missing_programs() -> list[str]:
    """Return the programs of the system that the node needs and that are not on PATH."""
    required = ("containerd", "ctr", "containerd-shim-runc-v2", "runc", "iptables", "ip", "openssl", "mount", "umount")
    return [name for name in required if shutil.which(name) is None]


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _has_nameserver() -> bool:
    try:
        return re.search(r"^\s*nameserver\s", RESOLV_CONF.read_text(encoding="utf-8"), re.MULTILINE) is not None
    except OSError:
        return False
