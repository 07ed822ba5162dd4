"""The node as a whole: up, mended where a part is gone, looked at, and down without a trace."""

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

from slipway.model.errors import ConfigError, SlipwayError
from slipway.toolchain import background
from slipway.toolchain.cluster import api, certificates, config, kernel, sandbox
from slipway.toolchain.cluster import parts as node_parts
from slipway.toolchain.cluster.layout import NODE, OWNER, RUN, Layout, layout
from slipway.toolchain.install import present
from slipway.toolchain.locking import alone

READY_SECONDS, END_SECONDS = 120.0, 30.0
ELSEWHERE = "Use a cluster that somebody runs, or kind or k3d on a Docker engine: name its context in the stack's file."
CONTAINER_LOGS = Path("/var/log/containers")
CNI_CACHE = Path("/var/lib/cni")
SHIMS = Path("/run/containerd/s")

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class PartState:
    """One part now: its process, or None, and its log."""

    name: str
    pid: int | None
    log: str


@dataclass(frozen=True)
class Status:
    """The node now. `state`: `down`, `broken` (a part is gone or the node is not ready) or `up`."""

    state: str
    server: str
    kubeconfig: str
    version: str
    parts: tuple[PartState, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def up(*, install: bool = True, on_line: OnLine | None = None) -> bool:
    """Bring the node up, or mend it; return whether anything had to be done.

    Args:
        install: False when nothing may be installed.
        on_line: told what happens.

    Raises:
        ConfigError: this machine cannot have a node, or has one of somebody else.
        SlipwayError: a part cannot be had or did not start; it names the part, its last log lines and its log.
    """
    tell = on_line or (lambda _line: None)
    refuse()
    place = layout()
    with alone(place.home / ".lock", lambda: tell("cluster: another start or end is under way, waiting")):
        refuse()
        tools = node_parts.had(install=install, on_line=on_line)
        changed = _ground(place, tell)
        for part in node_parts.parts(place, tools, sandbox.name()):
            changed = node_parts.start(place, part, tell) or changed
            _furnish(place, part.name, tools["gateway-api"])
        _await_node(place, tell)
    return changed


def plan() -> list[str]:
    """Return what `up` would do, in sentences; empty when the node is up. Nothing is done.

    Raises:
        ConfigError: this machine cannot have a node.
    """
    refuse()
    place = layout()
    steps = [f"get {name}" for name in node_parts.TOOLS if present(name) is None]
    if not kernel.network_up():
        steps.append("make the pods' bridge and let their packets through")
    steps += [f"start {name}" for name in node_parts.NAMES if background.running(place.part(name)) is None]
    return steps


def refuse() -> None:
    """Raise ConfigError, with what to use instead, where there can be no node."""
    if platform.system() != "Linux":
        raise ConfigError(f"a node needs Linux, and this is {platform.system()}", remedy=ELSEWHERE)
    if os.geteuid() != 0:
        raise ConfigError("a node needs root: it makes namespaces, mounts and packet rules", remedy=ELSEWHERE)
    if missing := node_parts.programs_missing():
        remedy = f"On Debian and Ubuntu: apt install containerd runc iptables iproute2 openssl. Or: {ELSEWHERE}"
        raise ConfigError(f"a node needs {', '.join(missing)} on PATH", remedy=remedy)
    place, owner = layout(), _owner()
    if owner and owner != place.home:
        remedy = f"Use it: export KUBECONFIG={owner / 'kubeconfig'}"
        raise ConfigError(f"this machine has a cluster already, of {owner}", remedy=remedy)
    if owner is None and kernel.foreign_chains():
        raise ConfigError(
            "this machine is a Kubernetes node already: it has packet rules of one",
            remedy="Use that one: name its context in the stack's file. After a crash: `invoke cluster down` removes "
            "what a node of Slipway left.",
        )


def status() -> Status:
    """Look at the node, changing nothing."""
    place = layout()
    states = []
    for name in node_parts.NAMES:
        process = background.running(place.part(name))
        states.append(PartState(name, process.pid if process else None, str(place.part(name) / background.LOG)))
    alive = [each for each in states if each.pid]
    complete = len(alive) == len(states) and kernel.network_up() and ready(place)
    return Status(
        state="up" if complete else "broken" if alive else "down",
        server=config.API,
        kubeconfig=str(place.kubeconfig),
        version=_version(place) if complete else "",
        parts=tuple(states),
    )


def ready(place: Layout) -> bool:
    """Return whether the API server says that the node is ready for pods."""
    with suppress(OSError, TypeError):
        node = api.get(place, f"/api/v1/nodes/{NODE}")
        conditions = {each["type"]: each["status"] for each in node["status"]["conditions"]}
        return conditions.get("Ready") == "True"
    return False


def down(*, on_line: OnLine | None = None) -> bool:
    """End the node and remove every trace of it; return whether there was one. It is done to what a crash left, too.

    Raises:
        ConfigError: the cluster of this machine is somebody else's.
        SlipwayError: something cannot be ended or removed.
    """
    tell = on_line or (lambda _line: None)
    place, owner = layout(), _owner()
    if owner and owner != place.home:
        raise ConfigError(f"the cluster of this machine belongs to {owner}", remedy="Run `down` as its user.")
    if not place.home.exists() and not RUN.exists():
        return False
    with alone(place.home / ".lock", lambda: tell("cluster: another start or end is under way, waiting")):
        for name in node_parts.ENDING:
            if background.stop(place.part(name)):
                tell(f"{name}: ended")
        tell("pods: ending them")
        _end_pods()
        background.stop(place.part("containerd"))
        _end_pods()
        kernel.unmount(place.home, RUN)
        kernel.remove_cgroups()
        kernel.lower_network(place.saved)
        _remove_files(place)
    return True


def _ground(place: Layout, tell: OnLine) -> bool:
    """Make what the parts stand on: folders, certificates, the network; return whether it was not there."""
    place.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    place.home.chmod(0o700)
    RUN.mkdir(mode=0o700, exist_ok=True)
    OWNER.write_text(str(place.home), encoding="utf-8")
    certificates.ensure(place.certificates)
    place.kubeconfig.touch(mode=0o600)
    place.kubeconfig.write_text(config.kubeconfig(place, "admin", inline=True), encoding="utf-8")
    if kernel.network_up():
        return False
    tell("network: making the pods' bridge")
    kernel.raise_network(place.saved)
    return True


def _furnish(place: Layout, name: str, gateway_api: Path) -> None:
    """Give a part that is up what others expect in it."""
    if name == "containerd":
        sandbox.ensure(place)
    if name == "kube-apiserver":
        for document in config.dns_role():
            api.apply(place, document, document["kind"], document["metadata"]["name"])
        for text in re.split(r"^---\s*$", gateway_api.read_text(encoding="utf-8"), flags=re.MULTILINE):
            kind = re.search(r"^kind: (\S+)", text, re.MULTILINE)
            called = re.search(r"^metadata:\n(?:  .*\n)*?  name: (\S+)", text, re.MULTILINE)
            if kind and called:
                api.apply(place, text, kind[1], called[1].strip("'\""))


def _await_node(place: Layout, tell: OnLine) -> None:
    background.wait_until(
        lambda: ready(place),
        place.part("kubelet"),
        "node",
        seconds=READY_SECONDS,
        on_line=tell,
        remedy="The kubelet's log says why.",
    )


def _owner() -> Path | None:
    with suppress(OSError):
        return Path(OWNER.read_text(encoding="utf-8"))
    return None


def _version(place: Layout) -> str:
    with suppress(OSError, TypeError, KeyError):
        return str(api.get(place, "/version")["gitVersion"])
    return ""


def _end_pods() -> None:
    """Kill what runs in the node's pods, and the shims that hold them."""
    end = time.monotonic() + END_SECONDS
    while left := {*kernel.cgroup_processes(), *_shims()}:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            raise SlipwayError(f"processes of pods do not end: {sorted(left)}", remedy="Look at them with `ps`.")
        time.sleep(0.1)


def _shims() -> set[int]:
    """Return the processes that containerd left beside the containers: known by the address they call back to."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (place / "cmdline").read_bytes().split(b"\0")
            name = Path(words[0].decode(errors="replace")).name
            if name == "containerd-shim-runc-v2" and str(layout().socket).encode() in words:
                found.add(int(place.name))
    return found


def _remove_files(place: Layout) -> None:
    for file in (RUN / "containerd").glob("io.containerd.runtime.v2.task/*/*/address"):
        (SHIMS / Path(file.read_text().removeprefix("unix://")).name).unlink(missing_ok=True)
    for link in CONTAINER_LOGS.glob("*") if CONTAINER_LOGS.is_dir() else ():
        if link.is_symlink() and link.readlink().is_relative_to(place.home):
            link.unlink()
    for cached in CNI_CACHE.glob("results/slipway-*"):
        cached.unlink(missing_ok=True)
    for folder in (CNI_CACHE / "results", CNI_CACHE, CONTAINER_LOGS):
        with suppress(OSError):
            folder.rmdir()  # only an empty one goes
    shutil.rmtree(RUN, ignore_errors=True)
    shutil.rmtree(place.home)
