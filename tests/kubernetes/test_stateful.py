"""A service that keeps data on a real cluster: its rows outlive its pods, a deploy, and its removal.

What the minute buys: that the claim is bound, written to by a pod without rights, and removed by its name alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.workspace import Workspace, wait_until
from tests.kubernetes.everyday import HERE, NAMESPACE, status
from tests.kubernetes.world import Cluster

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

VOLUME, CLAIM = "slipway-test-data", "db.data"
NOBODY = 65532


def sql(workspace: Workspace, text: str) -> str:
    ran = workspace.piped("exec", "db", *HERE, "--", "psql", "-Atqc", text)
    assert ran.code == 0, ran.output
    return ran.stdout.strip()


def pod(cluster: Cluster) -> str:
    return str(next(iter(cluster.pods(NAMESPACE, "app.kubernetes.io/name=db")))["metadata"]["uid"])


def ready(cluster: Cluster) -> bool:
    found = cluster.get("statefulset", "db", "--namespace", NAMESPACE)
    return bool(found["status"].get("readyReplicas"))


@pytest.fixture
def folder(tmp_path: Path, cluster: Cluster) -> Iterator[Path]:
    """A folder of the node, which the cluster has as a volume: this node has nothing that makes volumes."""
    os.chown(tmp_path, NOBODY, NOBODY)
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": VOLUME},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(tmp_path)},
        },
    }
    cluster.apply(volume)
    yield tmp_path
    cluster.kubectl("delete", "persistentvolume", VOLUME, "--ignore-not-found")


def test_rows_outlive_the_pod_a_deploy_and_the_service(live: Workspace, cluster: Cluster, folder: Path) -> None:
    live.restore()
    made = live.invoke("new", "db", "--kind", "postgres")
    assert made.code == 0, made.output
    live.edit("services/api/service.toml", '# needs = ["db"]', 'needs = ["db"]')
    live.edit("services/api/service.toml", "# release = ", "release = ")
    try:
        live.up(*HERE, "--yes")
        assert sql(live, "SELECT count(*) FROM items") == "4"
        assert status(live)["db"]["state"] == "healthy"

        first = pod(cluster)
        cluster.kubectl("delete", "pod", "db-0", "--namespace", NAMESPACE, "--wait=true")
        wait_until(lambda: ready(cluster) and pod(cluster) != first, "another pod serves")
        assert sql(live, "SELECT count(*) FROM items") == "4"

        second = pod(cluster)
        live.edit("services/db/service.toml", 'memory = "512m"', 'memory = "500m"')
        live.up(*HERE, "--yes")
        assert pod(cluster) != second
        assert sql(live, "SELECT count(*) FROM items") == "4"

        saved = live.invoke("backup", "db", *HERE, "--file", str(folder.parent / "db.gz"))
        assert saved.code == 0, saved.output
        sql(live, "DELETE FROM items")
        restored = live.invoke("restore", "db", str(folder.parent / "db.gz"), *HERE, "--yes")
        assert restored.code == 0, restored.output
        assert sql(live, "SELECT count(*) FROM items") == "4"
    finally:
        shutil.rmtree(live.root / "services" / "db")
        live.restore()
        live.up(*HERE, "--yes")
    claim = cluster.get("persistentvolumeclaim", CLAIM, "--namespace", NAMESPACE)
    assert claim["status"]["phase"] == "Bound", "a deploy without the service leaves its data"
    cluster.kubectl("delete", "persistentvolumeclaim", CLAIM, "--namespace", NAMESPACE)
