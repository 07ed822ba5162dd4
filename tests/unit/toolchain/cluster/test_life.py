"""A node from its start to its end, with parts, kernel and API server that only act."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.toolchain import background
from slipway._internal.toolchain.background import DaemonProcess
from slipway._internal.toolchain.cluster import api, certificates, components, kernel, node, sandbox
from slipway._internal.toolchain.cluster.layout import NodeLayout, node_layout

GATEWAY_API = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  annotations:
    a: b
  name: gateways.gateway.networking.k8s.io
---
# a comment between two documents
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: "httproutes.gateway.networking.k8s.io"
"""


class Machine:
    """A machine: which parts run, what was done to its kernel, and what its API server was given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.running: dict[str, int] = {}
        self.commands: dict[str, list[str]] = {}
        self.did: list[str] = []
        self.objects: list[tuple[str, str]] = []
        self.network = self.ready = False
        self.pod_processes: list[set[int]] = []
        gateway_api = folder / "gateway-api.yaml"
        gateway_api.write_text(GATEWAY_API)
        tools = {name: folder / "tools" / name for name in components.TOOLS} | {"gateway-api": gateway_api}
        for name in ("CONTAINER_LOGS", "CNI_CACHE", "SHIMS"):
            monkeypatch.setattr(node, name, folder / name)
        monkeypatch.setattr(node, "_shim_processes", set)
        monkeypatch.setattr(components, "ensure_tool", lambda name, **_: tools[name])
        monkeypatch.setattr(background, "find_running", self.find)
        monkeypatch.setattr(background, "launch_daemon", self.launch)
        monkeypatch.setattr(background, "stop_daemon", self.stop)
        monkeypatch.setattr(background, "wait_until_ready", self.wait)
        monkeypatch.setattr(certificates, "ensure_certificates", self.certify)
        monkeypatch.setattr(kernel, "is_network_up", lambda: self.network)
        monkeypatch.setattr(kernel, "set_up_network", lambda _saved: self.note("network up", network=True))
        monkeypatch.setattr(kernel, "tear_down_network", lambda _saved: self.note("network down", network=False))
        monkeypatch.setattr(kernel, "unmount_below", lambda *_: self.note("unmounted"))
        monkeypatch.setattr(kernel, "remove_pod_cgroups", lambda: self.note("cgroups gone"))
        monkeypatch.setattr(
            kernel, "list_pod_processes", lambda: self.pod_processes.pop(0) if self.pod_processes else set()
        )
        monkeypatch.setattr(sandbox, "ensure_image", lambda _layout: self.note("sandbox"))
        monkeypatch.setattr(sandbox, "image_name", lambda: "pause:1")
        monkeypatch.setattr(
            api, "apply_object", lambda _layout, _document, kind, name: self.objects.append((kind, name))
        )
        monkeypatch.setattr(api, "get_path", self.answer)

    def note(self, what: str, *, network: bool | None = None) -> None:
        self.did.append(what)
        self.network = self.network if network is None else network

    def find(self, folder: Path) -> DaemonProcess | None:
        return DaemonProcess(self.running[folder.name], "then") if folder.name in self.running else None

    def launch(self, folder: Path, argv: list[str], *, env: dict[str, str]) -> None:
        self.did.append(f"start {folder.name}")
        self.running[folder.name] = 100 + len(self.running)
        self.commands[folder.name] = [str(word) for word in argv]

    def stop(self, folder: Path) -> bool:
        self.did.append(f"stop {folder.name}")
        return self.running.pop(folder.name, None) is not None

    def wait(self, ready: Callable[[], bool], folder: Path, what: str, **_: Any) -> None:
        if what == "node":
            self.ready = len(self.running) == len(components.START_ORDER)
            assert ready()

    def certify(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (
            "ca.crt",
            *(f"{certificate.file}.{end}" for certificate in certificates.CERTIFICATES for end in ("crt", "key")),
        ):
            (folder / name).write_text(name)

    def answer(self, _layout: NodeLayout, path: str) -> Any:
        if not self.ready:
            raise OSError("refused")
        if path == "/version":
            return {"gitVersion": "v1.34.1"}
        return {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}


@pytest.fixture
def machine(fit: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_every_part_is_started_in_order_on_certificates_and_a_network(machine: Machine) -> None:
    assert node.bring_up() is True
    starts = [step for step in machine.did if step.startswith("start")]
    assert starts == [f"start {name}" for name in components.START_ORDER]
    assert machine.did[0] == "network up"
    layout = node_layout()
    assert node.CLUSTER_OWNER_FILE.read_text() == str(layout.home)
    assert layout.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert layout.home.stat().st_mode & 0o777 == 0o700
    for name in ("config.toml", "kubeconfig", "Corefile", "config.json"):
        assert list(layout.home.glob(f"*/{name}")), name
    assert machine.commands["containerd"][0] == "containerd"
    assert machine.commands["kubelet"][0].endswith("/kubelet")


def test_dns_and_the_gateway_apis_kinds_are_given_to_the_api_server(machine: Machine) -> None:
    node.bring_up()
    assert ("CustomResourceDefinition", "gateways.gateway.networking.k8s.io") in machine.objects
    assert ("CustomResourceDefinition", "httproutes.gateway.networking.k8s.io") in machine.objects
    assert {kind for kind, _ in machine.objects} == {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    assert machine.did.index("sandbox") < machine.did.index("start etcd")


def test_a_node_that_is_up_is_left_as_it_is(machine: Machine) -> None:
    node.bring_up()
    machine.did.clear()
    assert node.bring_up() is False
    assert machine.did == ["sandbox"]
    assert node.plan_start() == [f"get {name}" for name in components.TOOLS]


def test_a_part_that_is_gone_is_started_again(machine: Machine) -> None:
    node.bring_up()
    del machine.running["kubelet"]
    assert node.read_status().state == "broken"
    assert node.bring_up() is True
    assert [step for step in machine.did if step == "start kubelet"] == ["start kubelet"] * 2


def test_a_node_that_is_up_tells_its_version_and_its_parts(machine: Machine) -> None:
    node.bring_up()
    status = node.read_status()
    assert (status.state, status.version) == ("up", "v1.34.1")
    assert [part.name for part in status.parts] == list(components.START_ORDER)
    assert status.as_dict()["kubeconfig"] == str(node_layout().kubeconfig)
    machine.ready = False
    assert node.read_status().state == "broken"


def test_an_end_leaves_no_trace(machine: Machine, tmp_path: Path) -> None:
    node.bring_up()
    layout = node_layout()
    task = node.RUNTIME_FOLDER / "containerd" / "io.containerd.runtime.v2.task" / "k8s.io" / "c1"
    for folder in (task, node.SHIMS, node.CONTAINER_LOGS, node.CNI_CACHE / "results"):
        folder.mkdir(parents=True)
    (task / "address").write_text(f"unix://{node.SHIMS}/shim1")
    (node.SHIMS / "shim1").touch()
    (node.SHIMS / "another").touch()
    (node.CONTAINER_LOGS / "pod.log").symlink_to(layout.home / "pods" / "0.log")
    (node.CONTAINER_LOGS / "other.log").symlink_to(tmp_path / "other.log")
    (node.CNI_CACHE / "results" / "slipway-1").touch()
    machine.did.clear()
    assert node.tear_down() is True
    stops = [f"stop {name}" for name in (*components.STOP_ORDER, "containerd")]
    assert machine.did == [*stops, "unmounted", "cgroups gone", "network down"]
    assert not layout.home.exists() and not node.RUNTIME_FOLDER.exists() and not node.CNI_CACHE.exists()
    assert [path.name for path in node.SHIMS.iterdir()] == ["another"]
    assert [path.name for path in node.CONTAINER_LOGS.iterdir()] == ["other.log"]
    assert node.tear_down() is False


def test_what_runs_in_pods_is_killed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    node.bring_up()
    killed: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, _number: killed.append(pid))
    machine.pod_processes = [{41, 42}, {42}]
    node.tear_down()
    assert sorted(killed) == [41, 42, 42]


def test_what_cannot_be_killed_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    node.bring_up()
    monkeypatch.setattr("os.kill", lambda *_: None)
    monkeypatch.setattr(node, "END_SECONDS", -1.0)
    machine.pod_processes = [{41}] * 3
    with pytest.raises(SlipwayError, match="41"):
        node.tear_down()
    assert node_layout().home.exists()
