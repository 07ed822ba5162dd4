"""Where there can be no node, and what is said instead; how a machine without one looks."""

from __future__ import annotations

import pytest

from slipway._internal.model.errors import ConfigError
from slipway._internal.toolchain.cluster import components, kernel, node


def test_another_user_than_root_is_told_of_kind(fit: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="needs root") as caught:
        node.require_suitable_machine()
    assert "kind or k3d" in caught.value.remedy


def test_another_system_is_told_of_kind(fit: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(ConfigError, match="Darwin"):
        node.require_suitable_machine()


def test_what_is_missing_is_named_with_the_packages_that_bring_it(fit: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "find_missing_programs", lambda: ["containerd", "runc"])
    with pytest.raises(ConfigError, match="containerd, runc") as caught:
        node.require_suitable_machine()
    assert "apt install" in caught.value.remedy


def test_a_machine_that_is_a_node_of_somebody_else_is_refused(fit: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "has_foreign_chains", lambda: True)
    with pytest.raises(ConfigError, match="Kubernetes node already"):
        node.require_suitable_machine()


def test_a_cluster_of_another_user_is_named_with_the_way_to_it(fit: None) -> None:
    node.CLUSTER_OWNER_FILE.write_text("/home/other/cluster", encoding="utf-8")
    with pytest.raises(ConfigError, match="/home/other/cluster") as caught:
        node.require_suitable_machine()
    assert "KUBECONFIG=/home/other/cluster/kubeconfig" in caught.value.remedy
    with pytest.raises(ConfigError, match="belongs to"):
        node.tear_down()


def test_the_plan_names_what_is_got_and_every_start(fit: None) -> None:
    steps = node.plan_start()
    assert "get kubernetes" in steps
    assert [f"start {name}" for name in components.START_ORDER] == steps[-len(components.START_ORDER) :]


def test_without_a_node_it_is_down_and_there_is_nothing_to_end(fit: None) -> None:
    assert node.read_status().state == "down"
    assert node.tear_down() is False


def test_every_part_is_ended_that_is_started() -> None:
    assert {*components.STOP_ORDER, "containerd"} == set(components.START_ORDER)
