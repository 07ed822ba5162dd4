"""A user's command on a cluster: the pod that it runs in, and the kubectl that runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from slipway._internal.targets.kubernetes import commands
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
    made = command_pod(TEMPLATE, "api-run-1", "api", ["python", "-V"], terminal=True)
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
        command_pod(TEMPLATE, "web-run-1", "web", ["true"], terminal=False)


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


class FakeCluster(Cluster):
    """A cluster whose pods of commands go through states, one at each look; what is asked of it is in `asked`."""

    asked: list[str]
    states: list[dict[str, Any] | None]

    @classmethod
    def of(cls, *states: dict[str, Any] | None) -> FakeCluster:
        made = cls(Path("kubectl"), ClusterNamespace("demo-staging"), STACK)
        object.__setattr__(made, "asked", [])
        object.__setattr__(made, "states", list(states))
        return made

    def find_object(self, kind: str, name: str, into: Any) -> Any:
        if kind == "deployment":
            return {"spec": {"template": TEMPLATE}}
        state = self.states.pop(0)
        status = {"phase": "Running", "containerStatuses": [{"name": "api", "state": state}]}
        return (
            None
            if state is None
            else msgspec.convert({"kind": "Pod", "metadata": {"name": name}, "status": status}, into)
        )

    def create_object(self, manifest: Mapping[str, Any]) -> None:
        assert manifest == command_pod(TEMPLATE, manifest["metadata"]["name"], "api", ["python", "-V"], terminal=False)
        self.asked.append("create")

    @contextmanager
    def passing_input(self, pod: str, container: str) -> Iterator[None]:
        self.asked.append("pass input")
        yield

    def print_log(self, pod: str, container: str) -> None:
        self.asked.append("print log")

    def delete_pod(self, pod: str) -> None:
        assert pod.startswith("api-run-")
        self.asked.append("delete")


@pytest.fixture
def snapshot(monkeypatch: pytest.MonkeyPatch) -> ClusterSnapshot:
    """A stack with the API."""
    monkeypatch.setattr(commands, "POLL_SECONDS", 0.0)
    return ClusterSnapshot(
        {"api": msgspec.convert({"kind": "Deployment", "metadata": {"name": "api"}, "spec": {}}, Deployment)}
    )


def test_a_pod_of_its_own_is_run_to_its_end_and_removed(snapshot: ClusterSnapshot) -> None:
    starting, ended = {"waiting": {"reason": "ContainerCreating"}}, {"terminated": {"exitCode": 7}}
    cluster = FakeCluster.of(starting, {"running": {}}, {"running": {}}, ended)
    assert run_command(cluster, snapshot, STACK, "api", ["python", "-V"]) == 7
    assert cluster.asked == ["create", "pass input", "print log", "delete"]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}, "cannot start: ImagePullBackOff"),
        (None, "was removed before its command had ended"),
    ],
)
def test_a_pod_that_cannot_start_is_removed_and_says_why(
    snapshot: ClusterSnapshot, state: dict[str, Any] | None, said: str
) -> None:
    cluster = FakeCluster.of(state)
    with pytest.raises(SlipwayError, match=said):
        run_command(cluster, snapshot, STACK, "api", ["python", "-V"])
    assert cluster.asked == ["create", "delete"]


def test_a_pod_that_does_not_start_in_time_is_removed(
    snapshot: ClusterSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "START_SECONDS", -1.0)
    cluster = FakeCluster.of({"waiting": {"reason": "ContainerCreating"}})
    with pytest.raises(SlipwayError, match="has not started"):
        run_command(cluster, snapshot, STACK, "api", ["python", "-V"])
    assert cluster.asked == ["create", "delete"]
