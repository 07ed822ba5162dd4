"""What `invoke cluster` prints of the node, and what it leaves alone when it is dry."""

from __future__ import annotations

import json

import pytest
from tests.unit.tasks.conftest import Flows, ended_with, rows

from slipway._internal.model.errors import ConfigError
from slipway._internal.tasks.cluster import cluster
from slipway._internal.toolchain.cluster import node
from slipway._internal.toolchain.cluster.node import ComponentState, NodeStatus

PARTS = (ComponentState("etcd", 41, "/x/etcd.log"), ComponentState("kubelet", None, "/x/kubelet.log"))


def status(state: str) -> NodeStatus:
    return NodeStatus(state, "https://127.0.0.1:6443", "/x/kubeconfig", "v1.34.1" if state == "up" else "", PARTS)


@pytest.mark.parametrize(("changed", "said"), [(True, "is up"), (False, "was up already")])
def test_up_says_how_to_reach_the_node(
    flows: Flows, capsys: pytest.CaptureFixture[str], changed: bool, said: str
) -> None:
    flows.replace(node, "bring_up", changed)
    flows.replace(node, "read_status", status("up"))
    ended_with(0, cluster, "up", no_install=True)
    assert flows.options("bring_up")["install"] is False
    out = capsys.readouterr().out
    assert f"Kubernetes v1.34.1 {said} at https://127.0.0.1:6443" in out
    assert "export KUBECONFIG=/x/kubeconfig" in out and "slipway:kubeconfig: /x/kubeconfig" in out


@pytest.mark.parametrize(
    ("steps", "said"), [(["get etcd", "start etcd"], "would get etcd\nwould start etcd"), ([], "nothing to do")]
)
def test_a_dry_up_only_says_what_it_would_do(
    flows: Flows, capsys: pytest.CaptureFixture[str], steps: list[str], said: str
) -> None:
    flows.replace(node, "plan_start", steps)
    flows.replace(node, "bring_up", AssertionError("nothing is started"))
    ended_with(0, cluster, "up", dry=True)
    assert said in capsys.readouterr().out


def test_a_machine_that_cannot_have_a_node_is_said(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(node, "bring_up", ConfigError("a node needs root", remedy="sudo"))
    ended_with(2, cluster, "up")
    assert "a node needs root" in capsys.readouterr().err


@pytest.mark.parametrize(("removed", "said"), [(True, "are gone"), (False, "There is no cluster.")])
def test_down_says_whether_there_was_a_node(
    flows: Flows, capsys: pytest.CaptureFixture[str], removed: bool, said: str
) -> None:
    flows.replace(node, "read_status", status("up"))
    flows.replace(node, "tear_down", removed)
    ended_with(0, cluster, "down")
    assert said in capsys.readouterr().out


def test_a_dry_down_names_the_parts_that_run(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(node, "read_status", status("broken"))
    flows.replace(node, "tear_down", AssertionError("nothing is removed"))
    ended_with(0, cluster, "down", dry=True)
    out = capsys.readouterr().out
    assert "would end etcd," in out and "/x/kubeconfig" in out and "kubelet" not in out


@pytest.mark.parametrize(
    ("state", "said"),
    [("down", "invoke cluster up"), ("broken", "invoke cluster up"), ("up", "export KUBECONFIG=/x/kubeconfig")],
)
def test_status_says_what_to_do_next(flows: Flows, capsys: pytest.CaptureFixture[str], state: str, said: str) -> None:
    flows.replace(node, "read_status", status(state))
    ended_with(0, cluster, "status")
    out = capsys.readouterr().out
    assert said in out
    assert (("kubelet", "gone", "/x/kubelet.log") in rows(out)) is (state != "down")


def test_status_as_json_has_every_part(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(node, "read_status", status("up"))
    ended_with(0, cluster, "status", json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], [part["pid"] for part in found["parts"]]) == ("up", [41, None])


def test_an_unknown_action_is_refused_with_those_that_there_are(
    flows: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    ended_with(2, cluster, "restart")
    err = capsys.readouterr().err
    assert "restart" in err and "up, down, status" in err
