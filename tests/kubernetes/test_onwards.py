"""From a laptop's Docker engine to a protected stack on the cluster: the same bytes, proven on the way.

What the minutes buy: one workspace has both targets, and what the gate has passed for one runs on the other.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest
from tests.e2e.workspace import Workspace
from tests.gate import database as trivydb
from tests.kubernetes.conftest import REGISTRY
from tests.kubernetes.everyday import NAME, SERVICES, settings
from tests.kubernetes.test_admission import POLICY, created, pod
from tests.kubernetes.world import Cluster

from slipway._internal.run import engine

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]
PROD = ("--stack", "prod")
NAMESPACE = f"{NAME}-prod"


@pytest.fixture(scope="module")
def promoted(live: Workspace, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The workspace with its dev stack on a Docker engine, and what it shipped from there on the cluster."""
    cache = trivydb.make(tmp_path_factory.mktemp("trivy") / "clean", [trivydb.Advisory("CVE-2026-1", "nothing-here")])
    live.environment["TRIVY_CACHE_DIR"] = str(cache)
    commit = live.git("rev-parse", "HEAD").strip()
    settings(live, cluster, "external", stack="prod", protected=True)
    live.git("commit", "--quiet", "--all", "--message", "A protected stack on the cluster")
    try:
        assert live.up("--yes")["healthy"]
        for words in (
            ("ship", "--stack", "dev"),
            ("promote", "--from", "dev", "--to", "prod", "--yes"),
            ("deploy", *PROD, "--yes"),
        ):
            ran = live.invoke(*words)
            assert ran.code == 0, ran.output
        yield live
    finally:
        live.restore()
        settings(live, cluster, "external", stack="prod", protected=True)
        ended = [live.invoke("down", "--stack", stack, "--yes") for stack in ("prod", "dev")]
        cluster.remove(NAMESPACE)
        live.git("reset", "--quiet", "--hard", commit)
        shutil.rmtree(live.root / ".slipway" / "signing", ignore_errors=True)
        del live.environment["TRIVY_CACHE_DIR"]
        assert [each.code for each in ended] == [0, 0], ended


def on_cluster(cluster: Cluster) -> dict[str, str]:
    """Return the image of each Deployment of the protected stack."""
    found = cluster.get("deployments", "--namespace", NAMESPACE)["items"]
    return {each["metadata"]["name"]: each["spec"]["template"]["spec"]["containers"][0]["image"] for each in found}


def test_the_cluster_runs_the_bytes_that_the_engine_runs(promoted: Workspace, cluster: Cluster) -> None:
    here = {each.service: each.image.partition("@")[2] for each in engine.list_containers(NAME, "dev")}
    there = on_cluster(cluster)
    assert sorted(there) == SERVICES
    assert {name: image.partition("@")[2] for name, image in there.items()} == {name: here[name] for name in SERVICES}
    assert all(image.startswith(f"{REGISTRY}/{NAME}/release/{name}@") for name, image in there.items())
    pulled = {
        each["imageID"].partition("@")[2] or each["imageID"]
        for found in cluster.pods(NAMESPACE)
        for each in found["status"]["containerStatuses"]
    }
    assert pulled == {here[name] for name in SERVICES}


def test_what_has_no_evidence_is_not_deployed(promoted: Workspace, cluster: Cluster) -> None:
    before = on_cluster(cluster)
    path = promoted.root / "deploy" / "prod.lock.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    entry = told["services"]["api"]
    entry["ref"] = entry["ref"].replace(f"{NAME}/release/api@", f"{NAME}/release/worker@")
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(json.dumps(told), encoding="utf-8")
        refused = promoted.invoke("deploy", *PROD, "--yes")
        assert refused.code in (3, 4), refused.output
    finally:
        path.write_text(text, encoding="utf-8")
    assert on_cluster(cluster) == before


def test_the_cluster_takes_released_images_only(promoted: Workspace, cluster: Cluster) -> None:
    image = on_cluster(cluster)["api"]
    document = pod(image)
    document["metadata"]["namespace"] = NAMESPACE
    assert "created" in created(cluster, document, 0)
    document["spec"]["containers"][0]["image"] = image.replace("/release/", "/")
    assert POLICY in created(cluster, document, 1)


def test_the_rules_of_a_protected_stack_hold_there(promoted: Workspace, cluster: Cluster) -> None:
    inline = promoted.invoke("deploy", *PROD, "--yes", SLIPWAY_IMAGES="inline")
    assert inline.code == 2
    assert "protected" in inline.output
