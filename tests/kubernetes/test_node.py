"""The node itself: its pods run, find each other and reach this machine's registry; broken, it is mended."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator

import pytest
from tests.e2e.workspace import Workspace
from tests.kubernetes.world import (
    Cluster,
    fetch,
    from_inside,
    namespace,
    part,
    probe,
    wait_until,
)

from slipway._internal.toolchain.cluster import kernel, node
from slipway._internal.toolchain.cluster.layout import CLUSTER_DOMAIN, NODE_ADDRESS

SPACE = "slipway-k8s-node"


@pytest.fixture(scope="module")
def probes(cluster: Cluster, probe_image: str) -> Iterator[dict[str, str]]:
    """Two probes, each with a Service; their addresses by name."""
    cluster.remove(SPACE)
    cluster.apply(namespace(SPACE), *probe(probe_image, "one", SPACE, replicas=2), *probe(probe_image, "two", SPACE))
    for name in ("one", "two"):
        cluster.kubectl("rollout", "status", f"deployment/{name}", "--namespace", SPACE, "--timeout=120s")
    yield {name: cluster.address(name, SPACE) for name in ("one", "two")}
    cluster.remove(SPACE)


def test_up_is_said_at_once_when_it_is(cluster: Cluster, baked: Workspace) -> None:
    before = node.read_status()
    again = baked.invoke("cluster", "up")
    assert again.code == 0
    assert "was up already" in again.output
    assert node.read_status().parts == before.parts
    assert "nothing to do" in baked.invoke("cluster", "up", "--dry").output


def test_status_names_every_part_and_the_way_in(cluster: Cluster, baked: Workspace) -> None:
    said = baked.invoke("cluster", "status", "--json").json()
    assert said["state"] == "up"
    assert said["version"].startswith("v1.")
    assert all(each["pid"] for each in said["parts"])
    assert said["kubeconfig"] == str(cluster.kubeconfig)
    assert stat.S_IMODE(cluster.kubeconfig.stat().st_mode) == 0o600


def test_nothing_listens_but_on_loopback_and_the_bridge(cluster: Cluster) -> None:
    pids = {str(each.pid) for each in node.read_status().parts}
    lines = subprocess.run(["ss", "-Hltnup"], capture_output=True, text=True, check=True).stdout.splitlines()
    own = [line for line in lines if any(f"pid={pid}," in line for pid in pids)]
    assert own
    addresses = {line.split()[4].rpartition(":")[0] for line in own}
    assert addresses <= {"127.0.0.1", NODE_ADDRESS}, own


def test_who_has_no_certificate_may_read_nothing(cluster: Cluster) -> None:
    said = cluster.kubectl("get", "secrets", "--all-namespaces", "--as", "system:anonymous", code=1)
    assert "Forbidden" in said


def test_a_pod_runs_from_an_image_in_a_registry_on_this_machine(
    cluster: Cluster, probes: dict[str, str], probe_image: str
) -> None:
    pods = cluster.pods(SPACE, "probe=one")
    assert {each["spec"]["containers"][0]["image"] for each in pods} == {probe_image}
    assert [each["status"]["phase"] for each in pods] == ["Running"] * 2


def test_a_service_s_address_leads_to_each_of_its_pods_from_this_machine(
    cluster: Cluster, probes: dict[str, str]
) -> None:
    names = {each["metadata"]["name"] for each in cluster.pods(SPACE, "probe=one")}
    seen: set[str] = set()

    def all_seen() -> bool:
        status, said = fetch(probes["one"])  # refused for as long as kube-proxy has not seen the pods
        if status == 200:
            seen.add(said)
        return names <= seen

    wait_until(all_seen, f"{names} have answered")
    assert seen == names


def test_inside_a_pod_a_service_is_found_by_its_name_and_by_its_address(
    cluster: Cluster, probes: dict[str, str]
) -> None:
    (two,) = (each["metadata"]["name"] for each in cluster.pods(SPACE, "probe=two"))
    for url in (f"http://{probes['two']}/", "http://two/", f"http://two.{SPACE}.svc.{CLUSTER_DOMAIN}/"):
        assert from_inside(probes["one"], url) == (200, two)


def test_a_pod_reaches_itself_by_its_service(cluster: Cluster, probes: dict[str, str]) -> None:
    (two,) = (each["metadata"]["name"] for each in cluster.pods(SPACE, "probe=two"))
    assert from_inside(probes["two"], "http://two/") == (200, two)


def test_a_name_that_is_none_is_said_to_be_none(cluster: Cluster, probes: dict[str, str]) -> None:
    status, said = from_inside(probes["one"], f"http://nobody.{SPACE}.svc.{CLUSTER_DOMAIN}/")
    assert status == 502
    assert "no such host" in said


def test_logs_and_port_forwards_pass_through_the_api_server(cluster: Cluster, probes: dict[str, str]) -> None:
    said = cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{SPACE}/services/two:80/proxy/")
    (two,) = (each["metadata"]["name"] for each in cluster.pods(SPACE, "probe=two"))
    assert said == two
    cluster.kubectl("logs", "deployment/two", "--namespace", SPACE)


def test_the_gateway_api_s_kinds_are_there(cluster: Cluster) -> None:
    kinds = {each["spec"]["names"]["kind"] for each in cluster.get("customresourcedefinitions")["items"]}
    assert {"GatewayClass", "Gateway", "HTTPRoute", "ReferenceGrant"} <= kinds


@pytest.mark.parametrize("name", ["kubelet", "kube-apiserver", "kube-proxy", "coredns", "etcd", "containerd"])
def test_what_is_killed_is_mended_by_up_and_pods_go_on(
    own_cluster: Cluster, baked: Workspace, probes: dict[str, str], name: str
) -> None:
    """Each part of the node may be killed: `cluster up` mends it, and pods run on meanwhile."""
    before = node.read_status()
    pods = {each["metadata"]["uid"] for each in own_cluster.pods(SPACE)}
    os.kill(part(before, name), signal.SIGKILL)
    wait_until(lambda: node.read_status().state == "broken", f"{name} is missed")
    assert f"would start {name}" in baked.invoke("cluster", "up", "--dry").output
    mended = baked.invoke("cluster", "up")
    assert mended.code == 0, mended.output
    after = node.read_status()
    assert after.state == "up"
    changed = {new.name for old, new in zip(before.parts, after.parts, strict=True) if old.pid != new.pid}
    assert changed == {name}
    wait_until(lambda: from_inside(probes["one"], "http://two/")[0] == 200, "the probes find each other again")
    assert {each["metadata"]["uid"] for each in own_cluster.pods(SPACE)} == pods


def test_a_bridge_that_is_gone_is_made_again(own_cluster: Cluster, baked: Workspace) -> None:
    subprocess.run(["iptables", "-w", "-D", "FORWARD", "-j", kernel.OWN_CHAIN], check=True)
    assert node.read_status().state == "broken"
    assert baked.invoke("cluster", "up").code == 0
    assert node.read_status().state == "up"


def test_a_part_that_does_not_start_says_why_and_where_its_log_is(own_cluster: Cluster, baked: Workspace) -> None:
    before = node.read_status()
    os.kill(part(before, "kube-scheduler"), signal.SIGKILL)
    wait_until(lambda: node.read_status().state == "broken", "the scheduler is missed")
    with _taken(10259):
        failed = baked.invoke("cluster", "up")
    assert failed.code == 1
    assert "kube-scheduler ended right after its start" in failed.output
    assert "address already in use" in failed.output
    assert failed.log().is_file()
    assert baked.invoke("cluster", "up").code == 0


def test_a_second_cluster_on_the_machine_is_refused(cluster: Cluster, baked: Workspace, tmp_path: object) -> None:
    refused = baked.invoke("cluster", "up", XDG_STATE_HOME=str(tmp_path))
    assert refused.code == 2
    assert f"export KUBECONFIG={cluster.kubeconfig}" in refused.output


def test_down_names_what_it_would_end_and_ends_nothing(cluster: Cluster, baked: Workspace) -> None:
    said = baked.invoke("cluster", "down", "--dry")
    assert said.code == 0
    assert "kube-apiserver" in said.output
    assert json.loads(baked.invoke("cluster", "status", "--json").stdout)["state"] == "up"


class _taken:
    """A port of the loopback address that somebody else has."""

    def __init__(self, port: int) -> None:
        import socket

        self._socket = socket.create_server(("127.0.0.1", port))

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_problem: object) -> None:
        self._socket.close()
