"""A user's command on a cluster: the pod that it runs in, and the kubectl that runs it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.targets.cluster import STACK

from slipway._internal.commands.kubectl import ClusterNamespace
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.run import cluster as clusters
from slipway._internal.run.cluster import Cluster
from slipway._internal.run.kubernetes_objects import Deployment, Pod
from slipway._internal.run.process import ProcessResult
from slipway._internal.targets.kubernetes.commands import command_pod, exec_command, run_command
from slipway._internal.targets.kubernetes.snapshot import ClusterSnapshot

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app.kubernetes.io/name": "api", "app.kubernetes.io/part-of": "demo"}},
    "spec": {
        "serviceAccountName": "api",
        "topologySpreadConstraints": [{"maxSkew": 1}],
        "securityContext": {"runAsNonRoot": True},
        "containers": [
            {
                "name": "api",
                "image": "registry/api@sha256:1",
                "args": ["serve"],
                "ports": [{"containerPort": 8000}],
                "readinessProbe": {"exec": {}},
                "lifecycle": {"preStop": {}},
                "envFrom": [{"configMapRef": {"name": "api-1"}}],
                "volumeMounts": [{"name": "secrets", "mountPath": "/run/secrets"}],
            }
        ],
    },
}


@pytest.fixture
def attached(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the command lines of the kubectls that were given this process's streams; each ends with status 7."""
    seen: list[list[str]] = []

    def run_attached(argv: Sequence[str]) -> int:
        seen.append([str(word) for word in argv])
        return 7

    monkeypatch.setattr(clusters, "run_attached", run_attached)
    return seen


def the_cluster() -> Cluster:
    return Cluster(Path("kubectl"), ClusterNamespace("demo-staging"), STACK)


def pod(name: str, *, created: str, running: bool = True) -> Pod:
    state = {"running": {}} if running else {"waiting": {"reason": "CrashLoopBackOff"}}
    return msgspec.convert(
        {
            "kind": "Pod",
            "metadata": {"name": name, "creationTimestamp": created},
            "status": {"phase": "Running", "containerStatuses": [{"name": "api", "state": state}]},
        },
        Pod,
    )


def test_a_commands_pod_is_the_services_but_for_what_makes_it_serve() -> None:
    made = command_pod(TEMPLATE, "api", ["python", "-V"], terminal=True)
    assert made["metadata"]["labels"] == {**TEMPLATE["metadata"]["labels"], "slipway.command": "true"}
    assert made["spec"]["securityContext"] == {"runAsNonRoot": True}
    assert made["spec"]["restartPolicy"] == "Never"
    assert made["spec"]["readinessGates"], "a Service of the same labels must never choose it"
    assert "topologySpreadConstraints" not in made["spec"]
    [container] = made["spec"]["containers"]
    assert container == {
        "name": "api",
        "image": "registry/api@sha256:1",
        "envFrom": [{"configMapRef": {"name": "api-1"}}],
        "volumeMounts": [{"name": "secrets", "mountPath": "/run/secrets"}],
        "command": ["python", "-V"],
        "stdin": True,
        "stdinOnce": True,
        "tty": True,
    }


def test_a_template_without_the_services_container_is_refused() -> None:
    with pytest.raises(SlipwayError, match="no container of that name"):
        command_pod(TEMPLATE, "web", ["true"], terminal=False)


def test_a_command_goes_to_the_newest_pod_that_runs(attached: list[list[str]]) -> None:
    pods = [
        pod("api-old", created="2026-01-01T00:00:00Z"),
        pod("api-new", created="2026-01-03T00:00:00Z"),
        pod("api-sick", created="2026-01-04T00:00:00Z", running=False),
    ]
    code = exec_command(the_cluster(), ClusterSnapshot(pods={"api": pods}), STACK, "api", ["ls", "--all", "a b"])
    assert code == 7
    [argv] = attached
    assert argv[argv.index("exec") + 1] == "api-new"
    assert argv[argv.index("--") + 1 :] == ["ls", "--all", "a b"]
    assert "--tty" not in argv, "standard input is no terminal here"
    assert "--request-timeout=0" in argv


def test_where_no_pod_runs_it_is_said(attached: list[list[str]]) -> None:
    sick = [pod("api-sick", created="2026-01-04T00:00:00Z", running=False)]
    for act in (exec_command, run_command):
        with pytest.raises(ConfigError, match="api does not run in staging"):
            act(the_cluster(), ClusterSnapshot(pods={"api": sick}), STACK, "api", ["true"])
    assert attached == []


def test_a_pod_of_its_own_is_run_by_the_image_that_is_live_and_removed_whatever_happens(
    attached: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(argv: Sequence[str], **_options: Any) -> ProcessResult:
        asked.append([str(word) for word in argv])
        return ProcessResult(0, json.dumps({"spec": {"template": TEMPLATE}}))

    monkeypatch.setattr(clusters, "run", run)
    deployment = msgspec.convert({"kind": "Deployment", "metadata": {"name": "api"}, "spec": {}}, Deployment)
    assert run_command(the_cluster(), ClusterSnapshot({"api": deployment}), STACK, "api", ["python", "-V"]) == 7
    [argv] = attached
    name = argv[argv.index("run") + 1]
    assert name.startswith("api-run-")
    assert "--image=registry/api@sha256:1" in argv and "--restart=Never" in argv and "--rm" in argv
    overrides = json.loads(next(word for word in argv if word.startswith("--overrides=")).partition("=")[2])
    assert overrides == command_pod(TEMPLATE, "api", ["python", "-V"], terminal=False)
    assert asked[-1][asked[-1].index("delete") :] == ["delete", "pod", name, "--ignore-not-found", "--wait=false"]
