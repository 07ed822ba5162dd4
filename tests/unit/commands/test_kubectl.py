"""What kubectl is called with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from slipway._internal.commands import kubectl
from slipway._internal.commands.kubectl import ClusterNamespace

PROGRAM = Path("/bin/kubectl")
HERE = ClusterNamespace("shop-staging", "/home/ann/cluster.yaml", "prod-eu")


def test_a_stacks_cluster_is_named_in_every_call() -> None:
    calls = [
        kubectl.get_objects(PROGRAM, HERE, ["pods"], "a=b"),
        kubectl.get_object(PROGRAM, HERE, "namespace", "shop-staging"),
        kubectl.get_events(PROGRAM, HERE, "Pod", "api-1"),
        kubectl.logs(PROGRAM, HERE, "a=b", "api", tail=5, most=2),
        kubectl.pod_logs(PROGRAM, HERE, "api-1", "api", tail=5),
        kubectl.follow_pod_logs(PROGRAM, HERE, "api-1", "api", tail=5),
    ]
    for argv in calls:
        assert argv[:4] == [
            "/bin/kubectl",
            "--kubeconfig=/home/ann/cluster.yaml",
            "--context=prod-eu",
            "--namespace=shop-staging",
        ]


def test_without_settings_kubectl_takes_what_it_always_takes() -> None:
    argv = kubectl.get_objects(PROGRAM, ClusterNamespace("shop-dev"), ["deployments.apps", "pods"], "a=b")
    assert argv == [
        "/bin/kubectl",
        "--namespace=shop-dev",
        "--request-timeout=20s",
        "get",
        "deployments.apps,pods",
        "--selector=a=b",
        "--output=json",
    ]


def test_a_selector_names_the_workspace_the_stack_and_the_service() -> None:
    assert kubectl.label_selector("shop", "dev") == "app.kubernetes.io/part-of=shop,slipway.stack=dev"
    assert kubectl.label_selector("shop", "dev", "api") == (
        "app.kubernetes.io/part-of=shop,slipway.stack=dev,app.kubernetes.io/name=api"
    )


def test_a_log_that_is_followed_has_no_time_limit() -> None:
    argv = kubectl.follow_pod_logs(
        PROGRAM, ClusterNamespace("n"), "api-1", "api", tail=-1, since=datetime(2026, 3, 1, 12, tzinfo=UTC)
    )
    assert "--request-timeout=0" in argv
    assert argv[-1] == "--since-time=2026-03-01T12:00:00+00:00"


def test_the_run_that_crashed_is_asked_for_by_name() -> None:
    argv = kubectl.pod_logs(PROGRAM, ClusterNamespace("n"), "api-1", "api", tail=15, previous=True)
    assert argv[-5:] == ["logs", "api-1", "--container=api", "--tail=15", "--previous"]


def test_a_job_is_removed_with_its_pods() -> None:
    argv = kubectl.delete_job(PROGRAM, ClusterNamespace("n"), "api-release-1")
    assert argv[argv.index("delete") :] == [
        *("delete", "job", "api-release-1", "--ignore-not-found", "--wait=false", "--cascade=foreground")
    ]
