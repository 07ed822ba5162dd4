"""The node as a whole: start, repair, status, and removal without a trace."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.toolchain import background
from slipway._internal.toolchain.cluster import api, certificates, config, kernel, sandbox
from slipway._internal.toolchain.cluster import components as node_parts
from slipway._internal.toolchain.cluster.layout import (
    CLUSTER_OWNER_FILE,
    NODE_NAME,
    RUNTIME_FOLDER,
    NodeLayout,
    node_layout,
)
from slipway._internal.toolchain.install import find_installed_tool
from slipway._internal.toolchain.locking import file_lock

READY_SECONDS, END_SECONDS = 120.0, 30.0
ALTERNATIVES = "Use an existing cluster, or kind or k3d on a Docker engine: name its context in the stack's file."
CONTAINER_LOGS = Path("/var/log/containers")
CNI_CACHE = Path("/var/lib/cni")
SHIMS = Path("/run/containerd/s")

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class ComponentState:
    """One part now: its process, or None, and its log."""

    name: str
    pid: int | None
    log: str


@dataclass(frozen=True)
class NodeStatus:
    """The node now. `state`: `tear_down`, `broken` (a part is gone or the node is not ready) or `bring_up`."""

    state: str
    server: str
    kubeconfig: str
    version: str
    parts: tuple[ComponentState, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def bring_up(*, install: bool = True, on_line: OnLine | None = None) -> bool:
    """Bring the node up, or mend it; return whether anything had to be done.

    Args:
        install: False when nothing may be installed.
        on_line: told what happens.

    Raises:
        ConfigError: this machine cannot have a node, or has one of somebody else.
        SlipwayError: a part cannot be had or did not start; it names the part, its last log lines and its log.
    """
    tell = on_line or (lambda _line: None)
    require_suitable_machine()
    layout = node_layout()
    with file_lock(layout.home / ".lock", lambda: tell("cluster: another start or end is under way, waiting")):
        require_suitable_machine()
        tools = node_parts.ensure_tools(install=install, on_line=on_line)
        changed = _prepare_node(layout, tell)
        for component in node_parts.plan_components(layout, tools, sandbox.image_name()):
            changed = node_parts.start_component(layout, component, tell) or changed
            _install_addons(layout, component.name, tools["gateway-api"])
        _await_node(layout, tell)
    return changed


def plan_start() -> list[str]:
    """Return what `bring_up` would do, in sentences; empty when the node is up. Nothing is done.

    Raises:
        ConfigError: this machine cannot have a node.
    """
    require_suitable_machine()
    layout = node_layout()
    steps = [f"get {name}" for name in node_parts.TOOLS if find_installed_tool(name) is None]
    if not kernel.is_network_up():
        steps.append("make the pods' bridge and allow their packets")
    steps += [
        f"start {name}"
        for name in node_parts.START_ORDER
        if background.find_running(layout.component_folder(name)) is None
    ]
    return steps


def require_suitable_machine() -> None:
    """Raise ConfigError, with what to use instead, where there can be no node."""
    if platform.system() != "Linux":
        raise ConfigError(f"a node needs Linux, and this is {platform.system()}", remedy=ALTERNATIVES)
    if os.geteuid() != 0:
        raise ConfigError("a node needs root: it makes namespaces, mounts and packet rules", remedy=ALTERNATIVES)
    if missing := node_parts.find_missing_programs():
        remedy = f"On Debian and Ubuntu: apt install containerd runc iptables iproute2 openssl. Or: {ALTERNATIVES}"
        raise ConfigError(f"a node needs {', '.join(missing)} on PATH", remedy=remedy)
    layout, owner = node_layout(), _read_cluster_owner()
    if owner and owner != layout.home:
        remedy = f"Use it: export KUBECONFIG={owner / 'kubeconfig'}"
        raise ConfigError(f"this machine has a cluster already, of {owner}", remedy=remedy)
    if owner is None and kernel.has_foreign_chains():
        raise ConfigError(
            "this machine is a Kubernetes node already: it has packet rules of one",
            remedy="Use that one: name its context in the stack's file. After a crash: `invoke cluster down` removes "
            "what a node of Slipway left.",
        )


def read_status() -> NodeStatus:
    """Look at the node, changing nothing."""
    layout = node_layout()
    states = []
    for name in node_parts.START_ORDER:
        process = background.find_running(layout.component_folder(name))
        states.append(
            ComponentState(
                name, process.pid if process else None, str(layout.component_folder(name) / background.LOG_FILE)
            )
        )
    alive = [component for component in states if component.pid]
    complete = len(alive) == len(states) and kernel.is_network_up() and is_node_ready(layout)
    return NodeStatus(
        state="up" if complete else "broken" if alive else "down",
        server=config.API_URL,
        kubeconfig=str(layout.kubeconfig),
        version=_read_kubernetes_version(layout) if complete else "",
        parts=tuple(states),
    )


def is_node_ready(layout: NodeLayout) -> bool:
    """Return whether the API server says that the node is ready for pods."""
    with suppress(OSError, TypeError):
        node = api.get_path(layout, f"/api/v1/nodes/{NODE_NAME}")
        conditions = {condition["type"]: condition["status"] for condition in node["status"]["conditions"]}
        return conditions.get("Ready") == "True"
    return False


def tear_down(*, on_line: OnLine | None = None) -> bool:
    """End the node and remove every trace of it; return whether there was one. It is done to what a crash left, too.

    Raises:
        ConfigError: the cluster of this machine is somebody else's.
        SlipwayError: something cannot be ended or removed.
    """
    tell = on_line or (lambda _line: None)
    layout, owner = node_layout(), _read_cluster_owner()
    if owner and owner != layout.home:
        raise ConfigError(f"the cluster of this machine belongs to {owner}", remedy="Run `down` as its user.")
    if not layout.home.exists() and not RUNTIME_FOLDER.exists():
        return False
    with file_lock(layout.home / ".lock", lambda: tell("cluster: another start or end is under way, waiting")):
        for name in node_parts.STOP_ORDER:
            if background.stop_daemon(layout.component_folder(name)):
                tell(f"{name}: ended")
        tell("pods: ending them")
        _kill_pods()
        background.stop_daemon(layout.component_folder("containerd"))
        _kill_pods()
        kernel.unmount_below(layout.home, RUNTIME_FOLDER)
        kernel.remove_pod_cgroups()
        kernel.tear_down_network(layout.saved_settings)
        _remove_files(layout)
    return True


def _prepare_node(layout: NodeLayout, tell: OnLine) -> bool:
    """Make what the parts stand on: folders, certificates, the network; return whether it was not there."""
    layout.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    layout.home.chmod(0o700)
    RUNTIME_FOLDER.mkdir(mode=0o700, exist_ok=True)
    CLUSTER_OWNER_FILE.write_text(str(layout.home), encoding="utf-8")
    certificates.ensure_certificates(layout.certificates)
    layout.kubeconfig.touch(mode=0o600)
    layout.kubeconfig.write_text(config.kubeconfig(layout, "admin", inline=True), encoding="utf-8")
    if kernel.is_network_up():
        return False
    tell("network: making the pods' bridge")
    kernel.set_up_network(layout.saved_settings)
    return True


def _install_addons(layout: NodeLayout, name: str, gateway_api: Path) -> None:
    """Give a part that is up what others expect in it."""
    if name == "containerd":
        sandbox.ensure_image(layout)
    if name == "kube-apiserver":
        for document in config.dns_role_objects():
            api.apply_object(layout, document, document["kind"], document["metadata"]["name"])
        for text in re.split(r"^---\s*$", gateway_api.read_text(encoding="utf-8"), flags=re.MULTILINE):
            kind = re.search(r"^kind: (\S+)", text, re.MULTILINE)
            name_match = re.search(r"^metadata:\n(?:  .*\n)*?  name: (\S+)", text, re.MULTILINE)
            if kind and name_match:
                api.apply_object(layout, text, kind[1], name_match[1].strip("'\""))


def _await_node(layout: NodeLayout, tell: OnLine) -> None:
    background.wait_until_ready(
        lambda: is_node_ready(layout),
        layout.component_folder("kubelet"),
        "node",
        seconds=READY_SECONDS,
        on_line=tell,
        remedy="The kubelet's log says why.",
    )


def _read_cluster_owner() -> Path | None:
    with suppress(OSError):
        return Path(CLUSTER_OWNER_FILE.read_text(encoding="utf-8"))
    return None


def _read_kubernetes_version(layout: NodeLayout) -> str:
    with suppress(OSError, TypeError, KeyError):
        return str(api.get_path(layout, "/version")["gitVersion"])
    return ""


def _kill_pods() -> None:
    """Kill what runs in the node's pods, and the shims that hold them."""
    deadline = time.monotonic() + END_SECONDS
    while remaining := {*kernel.list_pod_processes(), *_shim_processes()}:
        for pid in remaining:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise SlipwayError(f"processes of pods do not end: {sorted(remaining)}", remedy="Look at them with `ps`.")
        time.sleep(0.1)


def _shim_processes() -> set[int]:
    """Return the processes that containerd left beside the containers: known by the address they call back to."""
    pids = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            name = Path(words[0].decode(errors="replace")).name
            if name == "containerd-shim-runc-v2" and str(node_layout().socket).encode() in words:
                pids.add(int(process.name))
    return pids


def _remove_files(layout: NodeLayout) -> None:
    for file in (RUNTIME_FOLDER / "containerd").glob("io.containerd.runtime.v2.task/*/*/address"):
        (SHIMS / Path(file.read_text().removeprefix("unix://")).name).unlink(missing_ok=True)
    for link in CONTAINER_LOGS.glob("*") if CONTAINER_LOGS.is_dir() else ():
        if link.is_symlink() and link.readlink().is_relative_to(layout.home):
            link.unlink()
    for cni_result in CNI_CACHE.glob("results/slipway-*"):
        cni_result.unlink(missing_ok=True)
    for folder in (CNI_CACHE / "results", CNI_CACHE, CONTAINER_LOGS):
        with suppress(OSError):
            folder.rmdir()  # only an empty one goes
    shutil.rmtree(RUNTIME_FOLDER, ignore_errors=True)
    shutil.rmtree(layout.home)
