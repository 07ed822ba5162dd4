"""The node's changes to this machine's kernel, and how they are undone: bridge, packet rules, settings, mounts."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.files import MEGABYTE
from slipway._internal.model.structured_files import read_json_or_none
from slipway._internal.run.process import ProcessResult, run
from slipway._internal.toolchain.cluster.layout import BRIDGE_NAME, NODE_ADDRESS, POD_CIDR, SERVICE_CIDR

OWN_CHAIN = "SLIPWAY-CLUSTER"
NODE_CHAINS = re.compile(r"^(?:KUBE-|SLIPWAY-CLUSTER$)")
"""The chains that the node's parts make; `up` refuses a machine where another node does."""
COMMAND_SECONDS = 30.0
SYSCTL_FOLDER = Path("/proc/sys")
REQUIRED_SETTINGS = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}
SAVED_SETTINGS = (
    *REQUIRED_SETTINGS,
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""Settings that the node or its kubelet change, which `down` sets back."""
CGROUP_ROOT = Path("/sys/fs/cgroup")


def set_up_network(saved: Path) -> None:
    """Make the bridge, let pods out and packets through, and keep the settings as they were in a file.

    Raises:
        SlipwayError: the kernel refused one of it.
    """
    if not (SYSCTL_FOLDER / "net/bridge").is_dir():
        run(["modprobe", "br_netfilter"], timeout=COMMAND_SECONDS)
    if not saved.exists():
        saved.write_text(
            json.dumps(
                {name: (SYSCTL_FOLDER / name).read_text().strip() for name in SAVED_SETTINGS if _has_setting(name)}
            )
        )
    for name, value in REQUIRED_SETTINGS.items():
        if _has_setting(name):
            (SYSCTL_FOLDER / name).write_text(value)
    if not Path("/sys/class/net", BRIDGE_NAME).exists():
        _run_checked(["ip", "link", "add", BRIDGE_NAME, "type", "bridge"])
    _run_checked(["ip", "address", "replace", f"{NODE_ADDRESS}/{POD_CIDR.rpartition('/')[2]}", "dev", BRIDGE_NAME])
    _run_checked(["ip", "link", "set", BRIDGE_NAME, "up"])
    # kube-proxy turns these addresses into a pod's; without a route a machine may not even begin to send.
    _run_checked(["ip", "route", "replace", SERVICE_CIDR, "dev", BRIDGE_NAME, "src", NODE_ADDRESS])
    for table, parent, rules in required_rules():
        if run(["iptables", "-w", "-t", table, "-n", "-L", OWN_CHAIN], timeout=COMMAND_SECONDS).code:
            _run_checked(["iptables", "-w", "-t", table, "-N", OWN_CHAIN])
        for rule in rules:
            _ensure_rule(table, OWN_CHAIN, rule)
        _ensure_rule(table, parent, ["-j", OWN_CHAIN])


def required_rules() -> list[tuple[str, str, list[list[str]]]]:
    """Return table, chain that leads to the own one, and the own one's rules.

    A Docker engine drops what it does not know on its way through this machine, so pods are let through by name.
    """
    out = ["-s", POD_CIDR, "!", "-d", POD_CIDR, "!", "-o", BRIDGE_NAME, "-j", "MASQUERADE"]
    return [
        ("filter", "FORWARD", [["-s", POD_CIDR, "-j", "ACCEPT"], ["-d", POD_CIDR, "-j", "ACCEPT"]]),
        ("nat", "POSTROUTING", [out]),
    ]


def is_network_up() -> bool:
    """Return whether the bridge and the way out are there."""
    chain_present = [
        run(["iptables", "-w", "-t", table, "-C", parent, "-j", OWN_CHAIN], timeout=COMMAND_SECONDS).code == 0
        for table, parent, _ in required_rules()
    ]
    return Path("/sys/class/net", BRIDGE_NAME).exists() and all(chain_present)


def tear_down_network(saved: Path) -> None:
    """Remove the bridge with what is plugged into it, every chain and rule of the node, and set the settings back."""
    for name in list_bridge_interfaces():
        run(["ip", "link", "delete", name], timeout=COMMAND_SECONDS)
    if Path("/sys/class/net", BRIDGE_NAME).exists():
        _run_checked(["ip", "link", "delete", BRIDGE_NAME])
    for family in ("iptables", "ip6tables"):
        saved_rules = run([f"{family}-save"], timeout=COMMAND_SECONDS)
        for table, commands in removal_commands(saved_rules.output if saved_rules.code == 0 else ""):
            text = "\n".join((f"*{table}", *commands, "COMMIT", ""))
            _run_checked([f"{family}-restore", "--noflush", "-w"], stdin=text)
    settings: dict[str, str] | None = read_json_or_none(saved, dict[str, str], limit=MEGABYTE)
    for name, value in (settings or {}).items():
        if name in SAVED_SETTINGS:
            with suppress(OSError):
                (SYSCTL_FOLDER / name).write_text(value)


def removal_commands(rules_text: str) -> Iterator[tuple[str, list[str]]]:
    """Read what `iptables-save` printed; yield each table's commands that remove the node's rules and chains."""
    for table_text in re.split(r"^\*", rules_text, flags=re.MULTILINE)[1:]:
        table, *lines = table_text.splitlines()
        chains = [name for line in lines if line.startswith(":") and NODE_CHAINS.match(name := line[1:].split()[0])]
        rules = [line.split() for line in lines if line.startswith("-A ")]
        jump_rules = [words for words in rules if not NODE_CHAINS.match(words[1]) and _jumps_to(words, chains)]
        commands = [f"-D {' '.join(words[1:])}" for words in jump_rules]
        commands += [f"-F {name}" for name in chains] + [f"-X {name}" for name in chains]
        if commands:
            yield table, commands


def has_foreign_chains() -> bool:
    """Return whether packet rules of a Kubernetes node are here."""
    return any(_has_kubernetes_chains(family) for family in ("iptables", "ip6tables"))


def list_bridge_interfaces() -> list[str]:
    """Return the interfaces on the bridge."""
    folder = Path("/sys/class/net", BRIDGE_NAME, "brif")
    return sorted(interface.name for interface in folder.iterdir()) if folder.is_dir() else []


def list_mount_points(*folders: Path) -> list[str]:
    """Return the mount points below folders, the deepest first."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    points = [line.split()[1].encode().decode("unicode_escape") for line in lines]
    below = [point for point in points if any(Path(point).is_relative_to(folder) for folder in folders)]
    return sorted(below, key=len, reverse=True)


def unmount_below(*folders: Path) -> None:
    """Unmount all below folders; what a dying process still holds goes when it does."""
    for point in list_mount_points(*folders):
        run(["umount", "--lazy", point], timeout=COMMAND_SECONDS)


def list_pod_cgroups() -> list[Path]:
    """Return the cgroups of pods, the deepest first."""
    roots = [CGROUP_ROOT / "kubepods", *CGROUP_ROOT.glob("*/kubepods")]
    return [Path(folder) for root in roots for folder, _, _ in os.walk(root, topdown=False)]


def list_pod_processes() -> set[int]:
    """Return the processes in pods."""
    pids: set[int] = set()
    for group in list_pod_cgroups():
        with suppress(OSError):
            pids.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    return pids


def remove_pod_cgroups(seconds: float = 10.0) -> None:
    """Remove the pods' cgroups, which are empty; the kernel takes a moment to see that."""
    deadline = time.monotonic() + seconds
    while remaining := list_pod_cgroups():
        for group in remaining:
            with suppress(OSError):
                group.rmdir()
        if time.monotonic() > deadline:
            raise SlipwayError(
                f"{remaining[-1]} cannot be removed", remedy="Something runs in it: see its cgroup.procs."
            )
        time.sleep(0.05)


def _has_kubernetes_chains(family: str) -> bool:
    return (
        re.search(r"^:KUBE-", run([f"{family}-save"], timeout=COMMAND_SECONDS).output, flags=re.MULTILINE) is not None
    )


def _jumps_to(words: list[str], chains: list[str]) -> bool:
    return any(words[index] in {"-j", "-g"} and words[index + 1] in chains for index in range(len(words) - 1))


def _has_setting(name: str) -> bool:
    return (SYSCTL_FOLDER / name).exists()


def _ensure_rule(table: str, chain: str, rule: Sequence[str]) -> None:
    if run(["iptables", "-w", "-t", table, "-C", chain, *rule], timeout=COMMAND_SECONDS).code:
        _run_checked(["iptables", "-w", "-t", table, "-A", chain, *rule])


def _run_checked(argv: list[str], stdin: str | None = None) -> ProcessResult:
    result = run(argv, stdin=stdin, timeout=COMMAND_SECONDS)
    if result.code:
        remedy = "In a container, the node needs one that is privileged."
        raise SlipwayError(f"`{' '.join(argv)}` failed", remedy=remedy, detail=result.tail())
    return result
