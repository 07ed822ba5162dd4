"""The node's parts in the order of their start: the files that each needs, its command, and how it says it is ready."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slipway.run.process_environment import EXCEPTIONS
from slipway.toolchain import background
from slipway.toolchain.cluster import api, config
from slipway.toolchain.cluster import layout as at
from slipway.toolchain.cluster.layout import Layout
from slipway.toolchain.install import ensure as ensure_tool

TOOLS = ("kubernetes", "etcd", "coredns", "cni-plugins", "gateway-api", "kubectl")
RESOLVER = Path("/etc/resolv.conf")
START_SECONDS = 90.0
NAMES = (
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
ENDING = ("kubelet", "kube-proxy", "coredns", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")
"""In the order of their end; containerd is last, when its containers are gone."""

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """One process of the node. `files` are written to its folder before it starts."""

    name: str
    argv: list[str]
    ready: Callable[[], bool]
    files: Mapping[str, str] = field(default_factory=dict)


def parts(layout: Layout, tools: Mapping[str, Path], sandbox: str) -> list[Part]:
    """Return every part; `tools` are the paths that `had` returned."""

    def kube(
        name: str, arguments: list[str], ready: Callable[[], bool], files: Mapping[str, str] | None = None
    ) -> Part:
        own = {"kubeconfig": config.kubeconfig(layout, name), **(files or {})}
        return Part(name, [str(tools["kubernetes"].with_name(name)), *arguments], ready, own)

    home = layout.part("containerd")
    proxy, dns = layout.part("kube-proxy"), layout.part("coredns")
    return [
        Part(
            "containerd",
            ["containerd", "--config", str(home / "config.toml")],
            lambda: _listens(layout.socket),
            {
                "config.toml": config.containerd(home, tools["cni-plugins"].parent, sandbox),
                "cni/10-slipway.conflist": config.network(home),
            },
        ),
        Part(
            "etcd",
            [str(tools["etcd"]), *config.etcd(layout)],
            lambda: api.plain(f"http://127.0.0.1:{at.ETCD_HEALTH}/health"),
        ),
        Part(
            "kube-apiserver",
            [str(tools["kubernetes"].with_name("kube-apiserver")), *config.api_server(layout)],
            lambda: api.ready(layout),
        ),
        kube(
            "kube-controller-manager",
            config.controller_manager(layout),
            lambda: api.plain(f"https://127.0.0.1:{at.MANAGER}/healthz"),
        ),
        kube(
            "kube-scheduler",
            config.scheduler(layout),
            lambda: api.plain(f"https://127.0.0.1:{at.SCHEDULER}/healthz"),
        ),
        Part(
            "coredns",
            [str(tools["coredns"]), "-conf", str(dns / "Corefile")],
            lambda: api.plain(f"http://127.0.0.1:{at.DNS_HEALTH}/health"),
            {
                "Corefile": config.corefile(layout, _resolves()),
                "kubeconfig": config.kubeconfig(layout, "coredns"),
            },
        ),
        kube(
            "kubelet",
            config.kubelet(layout),
            lambda: api.plain(f"http://127.0.0.1:{at.KUBELET_HEALTH}/healthz"),
            {"config.json": config.kubelet_file(layout)},
        ),
        kube(
            "kube-proxy",
            [f"--config={proxy / 'config.json'}"],
            lambda: api.plain(f"http://127.0.0.1:{at.PROXY_HEALTH}/healthz"),
            {"config.json": config.proxy_file(layout)},
        ),
    ]


def had(*, install: bool, on_line: OnLine | None) -> dict[str, Path]:
    """Return the path of each tool's first binary, getting what is missing.

    Raises:
        SlipwayError: one cannot be had.
    """
    return {name: ensure_tool(name, install=install, on_line=on_line) for name in TOOLS}


def start(layout: Layout, part: Part, on_line: OnLine) -> bool:
    """Start a part that does not run, wait until it is ready, and return whether it had to be started.

    Raises:
        SlipwayError: it did not start; its log's last lines and the log's path are in the error.
    """
    folder = layout.part(part.name)
    started = background.running(folder) is None
    if started:
        on_line(f"{part.name}: starting it")
        for name, text in part.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file.touch(mode=0o600)
            file.write_text(text, encoding="utf-8")
        background.launch(folder, part.argv, env=direct())
    background.wait_until(
        part.ready,
        folder,
        part.name,
        seconds=START_SECONDS,
        on_line=on_line,
        remedy="The log says why. `invoke cluster down` removes everything, to begin anew.",
    )
    return started


def direct() -> dict[str, str]:
    """Return what keeps the node's parts from asking a company's proxy for each other, where there is one."""
    exceptions = background.environment().get("no_proxy")
    inside = f"{at.PODS},{at.SERVICES},.svc,.cluster.local"
    return dict.fromkeys(EXCEPTIONS, f"{exceptions},{inside}") if exceptions else {}


def programs_missing() -> list[str]:
    """Return the programs of the system that the node needs and that are not on PATH."""
    needed = ("containerd", "ctr", "containerd-shim-runc-v2", "runc", "iptables", "ip", "openssl", "mount", "umount")
    return [name for name in needed if shutil.which(name) is None]


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _resolves() -> bool:
    try:
        return re.search(r"^\s*nameserver\s", RESOLVER.read_text(encoding="utf-8"), re.MULTILINE) is not None
    except OSError:
        return False
