"""How the cluster client handles kubectl's answers and refusals."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from slipway._internal.commands.kubectl import ClusterNamespace
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway._internal.run import cluster
from slipway._internal.run.cluster import Cluster, Forbidden, refuse_missing_kubeconfig
from slipway._internal.run.kubernetes_objects import Deployment, Event, Namespace, Pod

STACK = Stack("staging", Path("infra/Pulumi.staging.yaml"), "external", "kubernetes", protected=False)


def kubectl(folder: Path, *, out: str = "", errors: str = "", code: int = 0) -> Path:
    """Write a program that says what kubectl would."""
    program = folder / "kubectl"
    (folder / "out").write_text(out, encoding="utf-8")
    (folder / "errors").write_text(errors, encoding="utf-8")
    program.write_text(f"#!/bin/sh\ncat {folder}/out; cat {folder}/errors >&2; exit {code}\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def make_cluster(program: Path, kubeconfig: str | None = None) -> Cluster:
    return Cluster(program, ClusterNamespace("shop-staging", kubeconfig), STACK)


def test_objects_of_several_kinds_are_read_and_warnings_are_no_part_of_them(tmp_path: Path) -> None:
    answer = {
        "kind": "List",
        "items": [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "api", "labels": {"a": "b"}, "creationTimestamp": "2026-03-01T12:00:00Z"},
                "spec": {"replicas": 2, "strategy": {}, "template": {"spec": {"containers": [{"name": "api"}]}}},
                "status": {"readyReplicas": 1},
            },
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "api-1"}, "spec": {}, "status": {}},
        ],
    }
    found = make_cluster(
        kubectl(tmp_path, out=json.dumps(answer), errors="Warning: v1 X is deprecated\n")
    ).list_objects(["x"], "a=b")
    deployment, pod = found
    assert isinstance(deployment, Deployment)
    assert (deployment.spec.replicas, deployment.status.ready_replicas) == (2, 1)
    assert isinstance(pod, Pod)


def test_an_object_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert make_cluster(kubectl(tmp_path)).find_object("namespace", "shop-staging", Namespace) is None


def test_events_come_in_their_order_whichever_time_they_have(tmp_path: Path) -> None:
    times = [("b", {"lastTimestamp": "2026-03-01T12:00:02Z"}), ("a", {"eventTime": "2026-03-01T12:00:01.5Z"})]
    items = [{"kind": "Event", "reason": reason, "message": "", **when} for reason, when in times]
    found = make_cluster(kubectl(tmp_path, out=json.dumps({"items": items}))).list_events("Pod", "api-1")
    assert [each.reason for each in found if isinstance(each, Event)] == ["a", "b"]


@pytest.mark.parametrize(
    ("said", "kind", "what", "remedy"),
    [
        ('error: context "prod" does not exist', ConfigError, "no context `prod`", "get-contexts"),
        (
            "The connection to the server localhost:8080 was refused - did you specify the right host or port?",
            ConfigError,
            "no kubeconfig says where",
            "KUBECONFIG",
        ),
        (
            "E1123 18:00:00.000000 1 memcache.go:265] couldn't get current server API group list\n"
            "Unable to connect to the server: dial tcp 10.0.0.1:6443: i/o timeout",
            SlipwayError,
            "does not answer",
            "cluster-info",
        ),
        (
            'Error from server (Forbidden): pods is forbidden: User "ann" cannot list resource "pods"',
            Forbidden,
            "forbids it in the namespace shop-staging",
            "RoleBinding",
        ),
        (
            "error: You must be logged in to the server (Unauthorized)",
            SlipwayError,
            "does not know who you are",
            "Log in",
        ),
        (
            "Unable to connect to the server: getting credentials: exec: executable aws not found",
            SlipwayError,
            "needs `aws`",
            "Install it",
        ),
        (
            "Unable to connect to the server: tls: failed to verify certificate: x509: certificate signed by unknown",
            SlipwayError,
            "certificate",
            "CA",
        ),
        ('error: error loading config file "/x": yaml: line 3', ConfigError, "damaged", "kubeconfig"),
        ("error: something new", SlipwayError, "kubectl failed", "Fix"),
    ],
)
def test_a_refusal_says_what_it_means_and_what_to_do(
    tmp_path: Path, said: str, kind: type[SlipwayError], what: str, remedy: str
) -> None:
    with pytest.raises(kind) as caught:
        make_cluster(kubectl(tmp_path, errors=f"{said}\n", code=1)).list_objects(["pods"], "a=b")
    assert type(caught.value) is kind
    assert what in caught.value.message
    assert remedy in caught.value.remedy
    assert said.splitlines()[-1] in caught.value.detail


def test_a_kubeconfig_that_is_not_there_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Pulumi\.staging\.yaml.*/nowhere/config"):
        make_cluster(kubectl(tmp_path), "/nowhere/config").list_objects(["pods"], "a=b")


def test_where_no_kubeconfig_is_named_or_found_it_is_said_with_a_way_to_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="no kubeconfig says where the cluster of `staging` is") as caught:
        refuse_missing_kubeconfig(STACK)
    assert "invoke cluster up" in caught.value.remedy and "slipway:context" in caught.value.remedy
    monkeypatch.setenv("KUBECONFIG", f"/nowhere{os.pathsep}/either")
    with pytest.raises(ConfigError, match="KUBECONFIG is /nowhere"):
        refuse_missing_kubeconfig(STACK)
    with pytest.raises(ConfigError, match="slipway:kubeconfig is /nowhere"):
        refuse_missing_kubeconfig(replace(STACK, kubeconfig="/nowhere"))


@pytest.mark.parametrize("named", ["home", "environment", "stack", "pod"])
def test_a_kubeconfig_that_is_there_or_a_pods_own_login_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "home" / ".kube" / "config"
    if named == "pod":
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    elif named != "home":
        file = tmp_path / "config"
    stack = replace(STACK, kubeconfig=str(file)) if named == "stack" else STACK
    if named == "environment":
        monkeypatch.setenv("KUBECONFIG", str(file))
    if named != "pod":
        with pytest.raises(ConfigError):
            refuse_missing_kubeconfig(stack)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    refuse_missing_kubeconfig(stack)


def test_an_answer_that_is_no_json_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(SlipwayError, match="cannot be read"):
        make_cluster(kubectl(tmp_path, out="<html>proxy</html>")).list_objects(["pods"], "a=b")


def test_the_workspaces_own_kubectl_comes_before_the_one_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path, WorkspaceSettings("shop", "127.0.0.1:5000"), ())
    on_path = tmp_path / "elsewhere"
    on_path.mkdir()
    kubectl(on_path)
    monkeypatch.setenv("PATH", f"{on_path}{os.pathsep}{os.environ['PATH']}")
    assert cluster.kubectl_path(workspace) == on_path / "kubectl"
    own = tmp_path / ".slipway" / "bin"
    own.mkdir(parents=True)
    assert cluster.kubectl_path(workspace) == on_path / "kubectl"
    kubectl(own)
    assert cluster.kubectl_path(workspace) == own / "kubectl"


def test_without_kubectl_the_remedy_is_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlipwayError, match="kubectl is missing") as caught:
        cluster.kubectl_path(Workspace(tmp_path, WorkspaceSettings("shop", "127.0.0.1:5000"), ()))
    assert "invoke setup" in caught.value.remedy


def test_a_job_that_cannot_be_removed_is_told(tmp_path: Path) -> None:
    make_cluster(kubectl(tmp_path)).delete_job("api-release-1")
    with pytest.raises(SlipwayError):
        make_cluster(kubectl(tmp_path, errors="error: no", code=1)).delete_job("api-release-1")
