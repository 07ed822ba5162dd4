"""What each part of the node is told: on loopback and the bridge only, with certificates, and in its own folder."""

from __future__ import annotations

import base64
import json
import tomllib
from pathlib import Path

import pytest

from slipway._internal.run import process_environment
from slipway._internal.toolchain.cluster import certificates, components, config
from slipway._internal.toolchain.cluster.layout import NODE_ADDRESS, POD_CIDR, NodeLayout

HOME = Path("/state/cluster")
NODE = NodeLayout(HOME)


def test_the_node_is_asked_without_a_proxy_and_its_parts_ask_each_other_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process_environment.NODE_ADDRESS == NODE_ADDRESS
    monkeypatch.delenv("no_proxy", raising=False)
    assert components.no_proxy_environment() == {}
    monkeypatch.setenv("no_proxy", "localhost")
    assert components.no_proxy_environment()["NO_PROXY"] == f"localhost,{POD_CIDR},10.212.0.0/16,.svc,.cluster.local"


def test_containerd_keeps_all_in_the_node_s_folders_and_pulls_no_sandbox_by_another_name() -> None:
    read = tomllib.loads(config.containerd_config(HOME / "containerd", Path("/cni"), "own/pause:1"))
    cri = read["plugins"]["io.containerd.grpc.v1.cri"]
    assert read["root"] == "/state/cluster/containerd/root"
    assert read["state"].startswith("/run/slipway-cluster/")
    assert (cri["sandbox_image"], cri["restrict_oom_score_adj"]) == ("own/pause:1", True)
    assert cri["cni"] == {"bin_dir": "/cni", "conf_dir": "/state/cluster/containerd/cni"}


def test_pods_get_their_addresses_on_the_bridge_from_a_list_in_the_node_s_folder() -> None:
    (bridge,) = json.loads(config.cni_config(HOME))["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": POD_CIDR, "gateway": NODE_ADDRESS}]]
    assert bridge["ipam"]["dataDir"].startswith(str(HOME))
    assert bridge["hairpinMode"]


@pytest.mark.parametrize(
    "arguments",
    [
        config.etcd_arguments(NODE),
        config.api_server_arguments(NODE),
        config.controller_manager_arguments(NODE),
        config.scheduler_arguments(NODE),
    ],
)
def test_no_part_listens_on_every_address(arguments: list[str]) -> None:
    bound = [each for each in arguments if each.startswith(("--bind-address", "--listen-"))]
    assert bound
    assert all("127.0.0.1" in each or NODE_ADDRESS in each for each in bound)


def test_etcd_and_the_api_server_ask_for_certificates() -> None:
    assert {"--client-cert-auth", "--peer-client-cert-auth"} <= set(config.etcd_arguments(NODE))
    said = config.api_server_arguments(NODE)
    assert "--authorization-mode=Node,RBAC" in said
    assert "--client-ca-file=/state/cluster/pki/ca.crt" in said


def test_the_kubelet_lets_nobody_in_who_is_not_known_and_runs_on_both_kinds_of_cgroups() -> None:
    read = json.loads(config.kubelet_config(NODE))
    assert read["authentication"]["anonymous"] == {"enabled": False}
    assert read["authorization"] == {"mode": "Webhook"}
    assert (read["address"], read["failCgroupV1"], read["cgroupDriver"]) == (NODE_ADDRESS, False, "cgroupfs")


def test_kube_proxy_changes_no_setting_of_the_kernel_and_opens_no_port_to_others() -> None:
    read = json.loads(config.kube_proxy_config(NODE))
    assert set(read["conntrack"].values()) == {0, "0s"}
    assert read["nodePortAddresses"] == [f"{NODE_ADDRESS}/32"]


@pytest.mark.parametrize("forward", [True, False])
def test_other_names_are_asked_for_elsewhere_only_where_this_machine_has_a_resolver(forward: bool) -> None:
    assert ("forward . /etc/resolv.conf" in config.corefile(NODE, forward)) is forward
    assert f"bind {NODE_ADDRESS}" in config.corefile(NODE, forward)


def test_a_kubeconfig_names_files_or_carries_them(tmp_path: Path) -> None:
    layout = NodeLayout(tmp_path)
    layout.certificates.mkdir()
    for name in ("ca.crt", "admin.crt", "admin.key"):
        (layout.certificates / name).write_text(f"text of {name}", encoding="ascii")
    named = json.loads(config.kubeconfig(layout, "admin"))
    assert named["users"][0]["user"]["client-key"] == str(layout.certificates / "admin.key")
    carried = json.loads(config.kubeconfig(layout, "admin", inline=True))
    assert base64.b64decode(carried["users"][0]["user"]["client-key-data"]) == b"text of admin.key"
    assert str(tmp_path) not in json.dumps(carried)


def test_each_part_with_a_kubeconfig_has_a_certificate_of_its_own() -> None:
    names = {each.file for each in certificates.CERTIFICATES}
    assert {"admin", "kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager", "coredns"} <= names
    masters = [each.file for each in certificates.CERTIFICATES if each.organization == "system:masters"]
    assert masters == ["kubelet-client", "admin"]


def test_a_certificate_is_made_for_its_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    certificates.ensure_certificates(tmp_path)
    before = (tmp_path / "apiserver.crt").read_bytes()
    certificates.ensure_certificates(tmp_path)
    assert (tmp_path / "apiserver.crt").read_bytes() == before
    assert {oct(each.stat().st_mode & 0o777) for each in tmp_path.glob("*.key")} == {"0o600"}
    assert not [*tmp_path.glob("*.csr"), *tmp_path.glob("*.ext")]
