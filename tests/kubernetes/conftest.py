"""The ground for tests on a real node: the product's own cluster, and one generated workspace with a registry.

A cluster that was there before is used and left; else it is started, and its end must leave no trace. Programs are
kept between runs where the product keeps them; Pulumi's plugin for Kubernetes, too, is had as the product has it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.workspace import Workspace, bake
from tests.ground import left_as_it_was, this_run_alone
from tests.kubernetes.everyday import HERE, NAME, NAMESPACE, START_SECONDS, deployed, settings
from tests.kubernetes.world import Cluster, push_probe, traces

from slipway._internal.toolchain import registry_daemon
from slipway._internal.toolchain.cluster import node
from slipway._internal.toolchain.cluster.layout import node_layout

REGISTRY = "127.0.0.1:5056"
PORT = 18761


@pytest.fixture(scope="session")
def machine() -> Iterator[None]:
    """This machine, left as it was; another run of these tests is waited for."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with pytest.MonkeyPatch.context() as patch, this_run_alone("kubernetes"):
        patch.setenv("PATH", path)
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        for name in ("CI", "DOCKER_HOST", "KUBECONFIG", "SLIPWAY_IMAGES", "PULUMI_CONFIG_PASSPHRASE"):
            patch.delenv(name, raising=False)
        with left_as_it_was([REGISTRY]):
            yield


@pytest.fixture(scope="session")
def baked(tmp_path_factory: pytest.TempPathFactory, machine: None) -> Workspace:
    """A workspace as it is generated, in git, with nothing set up yet."""
    root = bake(tmp_path_factory.mktemp("k8s"), project_slug=NAME, registry=REGISTRY, gateway_port=str(PORT))
    made = Workspace(root, PORT)
    # A rollout that fails is given up by this time: the only one that is waited for to its end.
    made.edit("services/api/service.toml", "[args]\n", f"start-timeout = {START_SECONDS}\n\n[args]\n")
    made.git("init", "--quiet")
    made.git("add", ".")
    made.git("commit", "--quiet", "--message", "Generated")
    return made


@pytest.fixture(scope="session")
def cluster(baked: Workspace) -> Iterator[Cluster]:
    """A node that is up. What a run has left that died is removed first; what this one starts is, at its end."""
    there = node.read_status().state == "up"
    if not there:
        node.tear_down()
        assert traces() == []
    ran = baked.invoke("cluster", "up")
    assert ran.code == 0, ran.output
    yield Cluster(node_layout().kubeconfig)
    if not there:
        ended = baked.invoke("cluster", "down")
        assert ended.code == 0, ended.output
        assert traces() == []


@pytest.fixture(scope="session")
def own_cluster(cluster: Cluster, baked: Workspace) -> Cluster:
    """The node, for tests that break it: a cluster that somebody else may be using is not broken."""
    if os.environ.get("SLIPWAY_KEEP_CLUSTER"):
        pytest.skip("SLIPWAY_KEEP_CLUSTER: the cluster of this machine is in use")
    return cluster


@pytest.fixture(scope="session")
def local_registry(machine: None) -> str:
    """The registry of the workspace, which runs."""
    registry_daemon.ensure_local_registry(REGISTRY)
    return REGISTRY


@pytest.fixture(scope="session")
def probe_image(local_registry: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The probe's image, by its digest in the local registry."""
    return push_probe(tmp_path_factory.mktemp("probe"), local_registry)


@pytest.fixture(scope="session")
def live(baked: Workspace, cluster: Cluster, local_registry: str) -> Iterator[Workspace]:
    """The generated workspace with a stack that is up on the node; nothing of it is left afterwards."""
    settings(baked, cluster, "inline")
    cluster.remove(NAMESPACE)
    try:
        up = baked.up(*HERE)
        assert up["healthy"], up
        baked.git("add", ".")
        baked.git("commit", "--quiet", "--message", "What `invoke up` wrote")
        yield baked
        baked.restore()
        down = baked.invoke("down", *HERE, "--yes")
        assert down.code == 0, down.output
        assert cluster.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found") == ""
    finally:
        cluster.remove(NAMESPACE)


@pytest.fixture
def workspace(live: Workspace, cluster: Cluster) -> Iterator[Workspace]:
    """The workspace with its stack running what the committed files say; what a test has changed is put back."""
    before = deployed(live, cluster)
    yield live
    live.restore()
    if deployed(live, cluster) != before:
        live.up(*HERE, "--yes")
