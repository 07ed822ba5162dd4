"""Under load on a real node: a rollout, a deleted pod, a drained node, a kubelet that ends. No request fails.

The requests go to the Service's own address, with a connection for each: a connection that is kept ends with its pod,
and whoever keeps one (a gateway does) asks again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.e2e.callers import Seen, calling
from tests.e2e.workspace import Workspace
from tests.kubernetes.everyday import HERE, NAMESPACE, status, uids
from tests.kubernetes.world import Cluster, part, wait_until

from slipway._internal.toolchain.cluster import node

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]
ITEMS = "/api/items"


@contextmanager
def requests(cluster: Cluster) -> Iterator[Seen]:
    """Request the API from this machine, by its Service's address, for the time of a `with`."""
    with calling(8000, ITEMS, host=cluster.address("api", NAMESPACE), keep=(False,)) as seen:
        wait_until(lambda: len(seen.answers) > 10, "the API answers")
        yield seen
        enough = len(seen.answers) + 20
        wait_until(lambda: len(seen.answers) > enough, "the API still answers")


def test_a_change_is_rolled_out_without_a_failed_request(workspace: Workspace, cluster: Cluster) -> None:
    """A rollout on a real cluster under load: no request fails, old and new answer."""
    with requests(cluster) as seen:
        workspace.edit("services/api/app/main.py", '"lantern"', '"sextant"')
        workspace.up(*HERE)
    assert seen.failures == []
    assert seen.count("lantern") and seen.count("sextant")
    assert "sextant" in seen.answers[-1]


def test_the_kubelet_ends_and_comes_back_while_pods_serve(workspace: Workspace, own_cluster: Cluster) -> None:
    """Pods outlive their kubelet: requests are answered while it is gone and when it is back."""
    before = uids(own_cluster)
    with requests(own_cluster) as seen:
        os.kill(part(node.read_status(), "kubelet"), signal.SIGTERM)
        wait_until(lambda: node.read_status().state == "broken", "the kubelet is missed")
        assert workspace.invoke("cluster", "up").code == 0
        wait_until(lambda: {row["state"] for row in status(workspace).values()} == {"healthy"}, "all are healthy")
    assert seen.failures == []
    assert uids(own_cluster) == before


def test_the_worker_reaches_the_api_by_its_name(workspace: Workspace) -> None:
    def taken() -> bool:
        return "stock taken" in workspace.invoke("logs", "worker", *HERE, "--tail", "5").stdout

    wait_until(taken, "the worker has asked the API")


def test_the_page_shows_what_the_api_has(workspace: Workspace, cluster: Cluster) -> None:
    with calling(3000, "/", host=cluster.address("web", NAMESPACE), keep=(False,)) as seen:
        wait_until(lambda: seen.answers and "lantern" in seen.answers[-1], "the page has what the API has")
    assert seen.failures == []


@pytest.fixture(scope="module")
def two(live: Workspace, cluster: Cluster) -> Iterator[Workspace]:
    """The workspace with two pods of the API, for the tests at the end of this file."""
    file = live.root / "services" / "api" / "service.toml"
    file.write_text(f"{file.read_text(encoding='utf-8')}\n[scale]\nmin = 2\nmax = 2\n", encoding="utf-8")
    live.up(*HERE)
    assert status(live)["api"]["ready"] == "2/2"
    yield live
    live.restore()
    live.up(*HERE, "--yes")


def test_a_pod_that_is_deleted_is_replaced_without_a_failed_request(two: Workspace, cluster: Cluster) -> None:
    """A pod that goes ends its requests first: under load none fails."""
    gone, *_ = cluster.pods(NAMESPACE, "app.kubernetes.io/name=api")
    with requests(cluster) as seen:
        cluster.kubectl("delete", "pod", gone["metadata"]["name"], "--namespace", NAMESPACE)
        wait_until(lambda: status(two)["api"]["ready"] == "2/2", "another pod takes its place")
    assert seen.failures == []
    assert gone["metadata"]["uid"] not in uids(cluster)


def test_a_drained_node_keeps_the_last_pod_until_another_can_run(two: Workspace, cluster: Cluster) -> None:
    """The disruption budget holds against a real drain: the last pod stays until another runs."""
    (machine,) = (each["metadata"]["name"] for each in cluster.get("nodes")["items"])
    with requests(cluster) as seen:
        try:
            said = cluster.kubectl(
                "drain",
                machine,
                f"--pod-selector=app.kubernetes.io/name=api,slipway.stack={HERE[1]}",
                "--delete-emptydir-data",
                "--timeout=25s",
                code=1,
            )
            assert "disruption budget" in said
            assert status(two)["api"]["ready"] == "1/2"
        finally:
            cluster.kubectl("uncordon", machine)
        wait_until(lambda: status(two)["api"]["ready"] == "2/2", "both pods run again")
    assert seen.failures == []
