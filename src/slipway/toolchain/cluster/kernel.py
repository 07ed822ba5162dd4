"""What the node needs of this machine's kernel, and how it is given back: a bridge, packet rules, settings, mounts."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from slipway.model.errors import SlipwayError
from slipway.model.files import MEGABYTE
from slipway.model.reading import read_memory
from slipway.run.process import Result, run
from slipway.toolchain.cluster.layout import BRIDGE, GATEWAY, PODS, SERVICES

OWN = "SLIPWAY-CLUSTER"
CHAINS = re.compile(r"^(?:KUBE-|SLIPWAY-CLUSTER$)")
"""The chains that the node's parts make; `up` refuses a machine where another node does."""
SECONDS = 30.0
SYSCTL = Path("/proc/sys")
NEEDED = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}
KEPT = (
    *NEEDED,
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""Settings that the node or its kubelet change, which `down` sets back."""
CGROUPS = Path("/sys/fs/cgroup")


def raise_network(saved: Path) -> None:
    """Make the bridge, let pods out and packets through, and keep the settings as they were in a file.

    Raises:
        SlipwayError: the kernel refused one of it.
    """
    if not (SYSCTL / "net/bridge").is_dir():
        run(["modprobe", "br_netfilter"], timeout=SECONDS)
    if not saved.exists():
        saved.write_text(json.dumps({name: (SYSCTL / name).read_text().strip() for name in KEPT if _has(name)}))
    for name, value in NEEDED.items():
        if _has(name):
            (SYSCTL / name).write_text(value)
    if not Path("/sys/class/net", BRIDGE).exists():
        _must(["ip", "link", "add", BRIDGE, "type", "bridge"])
    _must(["ip", "address", "replace", f"{GATEWAY}/{PODS.rpartition('/')[2]}", "dev", BRIDGE])
    _must(["ip", "link", "set", BRIDGE, "up"])
    # kube-proxy turns these addresses into a pod's; without a route a machine may not even begin to send.
    _must(["ip", "route", "replace", SERVICES, "dev", BRIDGE, "src", GATEWAY])
    for table, parent, rules in rules_wanted():
        if run(["iptables", "-w", "-t", table, "-n", "-L", OWN], timeout=SECONDS).code:
            _must(["iptables", "-w", "-t", table, "-N", OWN])
        for rule in rules:
            _rule(table, OWN, rule)
        _rule(table, parent, ["-j", OWN])


def rules_wanted() -> list[tuple[str, str, list[list[str]]]]:
    """Return table, chain that leads to the own one, and the own one's rules.

    A Docker engine drops what it does not know on its way through this machine, so pods are let through by name.
    """
    out = ["-s", PODS, "!", "-d", PODS, "!", "-o", BRIDGE, "-j", "MASQUERADE"]
    return [
        ("filter", "FORWARD", [["-s", PODS, "-j", "ACCEPT"], ["-d", PODS, "-j", "ACCEPT"]]),
        ("nat", "POSTROUTING", [out]),
    ]


def network_up() -> bool:
    """Return whether the bridge and the way out are there."""
    ways = [
        run(["iptables", "-w", "-t", table, "-C", parent, "-j", OWN], timeout=SECONDS).code == 0
        for table, parent, _ in rules_wanted()
    ]
    return Path("/sys/class/net", BRIDGE).exists() and all(ways)


def lower_network(saved: Path) -> None:
    """Remove the bridge with what is plugged into it, every chain and rule of the node, and set the settings back."""
    for name in plugged():
        run(["ip", "link", "delete", name], timeout=SECONDS)
    if Path("/sys/class/net", BRIDGE).exists():
        _must(["ip", "link", "delete", BRIDGE])
    for family in ("iptables", "ip6tables"):
        before = run([f"{family}-save"], timeout=SECONDS)
        for table, commands in removal(before.output if before.code == 0 else ""):
            text = "\n".join((f"*{table}", *commands, "COMMIT", ""))
            _must([f"{family}-restore", "--noflush", "-w"], stdin=text)
    settings: dict[str, str] | None = read_memory(saved, dict[str, str], limit=MEGABYTE)
    for name, value in (settings or {}).items():
        if name in KEPT:
            with suppress(OSError):
                (SYSCTL / name).write_text(value)


def removal(saved: str) -> Iterator[tuple[str, list[str]]]:
    """Read what `iptables-save` printed; yield each table's commands that remove the node's rules and chains."""
    for part in re.split(r"^\*", saved, flags=re.MULTILINE)[1:]:
        table, *lines = part.splitlines()
        chains = [name for line in lines if line.startswith(":") and CHAINS.match(name := line[1:].split()[0])]
        rules = [line.split() for line in lines if line.startswith("-A ")]
        leading = [words for words in rules if not CHAINS.match(words[1]) and _leads(words, chains)]
        commands = [f"-D {' '.join(words[1:])}" for words in leading]
        commands += [f"-F {name}" for name in chains] + [f"-X {name}" for name in chains]
        if commands:
            yield table, commands


def foreign_chains() -> bool:
    """Return whether packet rules of a Kubernetes node are here."""
    return any(_kube(family) for family in ("iptables", "ip6tables"))


def plugged() -> list[str]:
    """Return the interfaces on the bridge."""
    folder = Path("/sys/class/net", BRIDGE, "brif")
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []


def mounts(*folders: Path) -> list[str]:
    """Return the mount points below folders, the deepest first."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    points = [line.split()[1].encode().decode("unicode_escape") for line in lines]
    below = [each for each in points if any(Path(each).is_relative_to(folder) for folder in folders)]
    return sorted(below, key=len, reverse=True)


def unmount(*folders: Path) -> None:
    """Unmount all below folders; what a dying process still holds goes when it does."""
    for point in mounts(*folders):
        run(["umount", "--lazy", point], timeout=SECONDS)


def cgroups() -> list[Path]:
    """Return the cgroups of pods, the deepest first."""
    roots = [CGROUPS / "kubepods", *CGROUPS.glob("*/kubepods")]
    return [Path(place) for root in roots for place, _, _ in os.walk(root, topdown=False)]


def cgroup_processes() -> set[int]:
    """Return the processes in pods."""
    found: set[int] = set()
    for group in cgroups():
        with suppress(OSError):
            found.update(int(each) for each in (group / "cgroup.procs").read_text().split())
    return found


def remove_cgroups(seconds: float = 10.0) -> None:
    """Remove the pods' cgroups, which are empty; the kernel takes a moment to see that."""
    end = time.monotonic() + seconds
    while left := cgroups():
        for group in left:
            with suppress(OSError):
                group.rmdir()
        if time.monotonic() > end:
            raise SlipwayError(f"{left[-1]} cannot be removed", remedy="Something runs in it: see its cgroup.procs.")
        time.sleep(0.05)


def _kube(family: str) -> bool:
    return re.search(r"^:KUBE-", run([f"{family}-save"], timeout=SECONDS).output, flags=re.MULTILINE) is not None


def _leads(words: list[str], chains: list[str]) -> bool:
    return any(words[index] in {"-j", "-g"} and words[index + 1] in chains for index in range(len(words) - 1))


def _has(name: str) -> bool:
    return (SYSCTL / name).exists()


def _rule(table: str, chain: str, rule: Sequence[str]) -> None:
    if run(["iptables", "-w", "-t", table, "-C", chain, *rule], timeout=SECONDS).code:
        _must(["iptables", "-w", "-t", table, "-A", chain, *rule])


def _must(argv: list[str], stdin: str | None = None) -> Result:
    result = run(argv, stdin=stdin, timeout=SECONDS)
    if result.code:
        remedy = "In a container, the node needs one that is privileged."
        raise SlipwayError(f"`{' '.join(argv)}` failed", remedy=remedy, detail=result.tail())
    return result
