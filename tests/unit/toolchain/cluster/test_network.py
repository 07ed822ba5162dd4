"""What the node does to the kernel and takes back, on a machine that only acts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run.process import ProcessResult
from slipway._internal.toolchain.cluster import kernel


class Kernel:
    """Packet rules, settings and interfaces; a command that `refuses` names does not work."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[str] = []
        self.rules: set[str] = set()
        self.saved = ""
        self.restored: list[str] = []
        self.refuses = "nothing"
        self.settings = folder / "sys"
        for name in kernel.SAVED_SETTINGS:
            (self.settings / name).parent.mkdir(parents=True, exist_ok=True)
            (self.settings / name).write_text("0\n")
        monkeypatch.setattr(kernel, "run", self.run)
        monkeypatch.setattr(kernel, "SYSCTL_FOLDER", self.settings)
        monkeypatch.setattr(kernel, "CGROUP_ROOT", folder / "cgroup")
        monkeypatch.setattr(kernel, "BRIDGE_NAME", "slipway-none0")

    def run(self, argv: list[str], *, stdin: str | None = None, **_: Any) -> ProcessResult:
        text = " ".join(argv)
        self.commands.append(text)
        if self.refuses in text:
            return ProcessResult(1, "Operation not permitted")
        if argv[0].endswith("-save"):
            return ProcessResult(0, self.saved if argv[0] == "iptables-save" else "")
        if argv[0].endswith("-restore"):
            self.restored.append(stdin or "")
        if argv[0] == "iptables":
            rule = " ".join(argv[2:]).replace(" -C ", " -A ").replace(" -n -L ", " -N ")
            if "-C" in argv or "-L" in argv:
                return ProcessResult(int(rule not in self.rules), "")
            self.rules.add(rule)
        return ProcessResult(0, "")

    def setting(self, name: str) -> str:
        return (self.settings / name).read_text().strip()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(tmp_path, monkeypatch)


def test_pods_get_a_bridge_a_way_out_and_forwarding(machine: Kernel, tmp_path: Path) -> None:
    kernel.set_up_network(tmp_path / "saved.json")
    assert "ip link add slipway-none0 type bridge" in machine.commands
    assert any(command.startswith("ip route replace 10.212.0.0/16 dev slipway-none0") for command in machine.commands)
    assert "-t filter -A FORWARD -j SLIPWAY-CLUSTER" in machine.rules
    assert any("POSTROUTING" in rule for rule in machine.rules) and any("MASQUERADE" in rule for rule in machine.rules)
    assert machine.setting("net/ipv4/ip_forward") == "1"


def test_a_second_start_adds_no_rule_again(machine: Kernel, tmp_path: Path) -> None:
    kernel.set_up_network(tmp_path / "saved.json")
    machine.commands.clear()
    kernel.set_up_network(tmp_path / "saved.json")
    assert not [command for command in machine.commands if " -A " in command or " -N " in command]


def test_a_kernel_without_the_bridges_module_is_given_it(machine: Kernel, tmp_path: Path) -> None:
    for path in (machine.settings / "net/bridge").iterdir():
        path.unlink()
    (machine.settings / "net/bridge").rmdir()
    kernel.set_up_network(tmp_path / "saved.json")
    assert machine.commands[0] == "modprobe br_netfilter"


def test_what_the_kernel_refuses_is_told_with_its_words(machine: Kernel, tmp_path: Path) -> None:
    machine.refuses = "ip link add"
    with pytest.raises(SlipwayError, match="ip link add") as caught:
        kernel.set_up_network(tmp_path / "saved.json")
    assert "not permitted" in caught.value.detail and "privileged" in caught.value.remedy


def test_settings_are_set_back_to_what_they_were_before_the_first_start(machine: Kernel, tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    kernel.set_up_network(saved)
    kernel.set_up_network(saved)
    (machine.settings / "vm/overcommit_memory").write_text("1")  # as the kubelet does
    kernel.tear_down_network(saved)
    assert [machine.setting(name) for name in kernel.SAVED_SETTINGS] == ["0"] * len(kernel.SAVED_SETTINGS)


def test_only_settings_that_the_node_changes_are_set_back(machine: Kernel, tmp_path: Path) -> None:
    (tmp_path / "saved.json").write_text('{"../outside": "1", "kernel/panic": "7"}')
    kernel.tear_down_network(tmp_path / "saved.json")
    assert machine.setting("kernel/panic") == "7" and not (tmp_path / "outside").exists()


def test_the_nodes_rules_go_in_one_step_and_others_stay(machine: Kernel, tmp_path: Path) -> None:
    machine.saved = (
        "*filter\n:FORWARD DROP [0:0]\n:KUBE-X - [0:0]\n-A FORWARD -j KUBE-X\n-A FORWARD -j DOCKER\nCOMMIT\n"
    )
    assert kernel.has_foreign_chains() is True
    kernel.tear_down_network(tmp_path / "none.json")
    assert machine.restored == ["*filter\n-D FORWARD -j KUBE-X\n-F KUBE-X\n-X KUBE-X\nCOMMIT\n"]
    machine.saved = ""
    assert kernel.has_foreign_chains() is False


def test_without_a_bridge_the_network_is_down(machine: Kernel, tmp_path: Path) -> None:
    kernel.set_up_network(tmp_path / "saved.json")
    assert kernel.is_network_up() is False
    assert kernel.list_bridge_interfaces() == []


def test_mounts_below_a_folder_go_the_deepest_first(machine: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel.list_mount_points(Path("/proc"))[-1] == "/proc"
    monkeypatch.setattr(kernel, "list_mount_points", lambda *_: ["/x/pods/1/volume", "/x/pods"])
    kernel.unmount_below(Path("/x"))
    assert machine.commands == ["umount --lazy /x/pods/1/volume", "umount --lazy /x/pods"]


def test_the_processes_of_pods_are_found_and_their_empty_cgroups_removed(machine: Kernel, tmp_path: Path) -> None:
    for root in ("kubepods", "systemd/kubepods"):
        (tmp_path / "cgroup" / root / "pod1").mkdir(parents=True)
    procs = tmp_path / "cgroup" / "kubepods" / "pod1" / "cgroup.procs"
    procs.write_text("41\n42\n")
    assert kernel.list_pod_processes() == {41, 42}
    with pytest.raises(SlipwayError, match="kubepods"):
        kernel.remove_pod_cgroups(seconds=0)
    procs.unlink()
    kernel.remove_pod_cgroups()
    assert kernel.list_pod_cgroups() == []
