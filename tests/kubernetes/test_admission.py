"""What the cluster itself refuses in a stack's namespace, whoever asks: kubectl with all rights, not only a deploy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.e2e.workspace import Workspace
from tests.kubernetes.conftest import REGISTRY
from tests.kubernetes.everyday import NAME, NAMESPACE, image
from tests.kubernetes.world import Cluster

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]
POLICY, LEVEL = "ValidatingAdmissionPolicy", "PodSecurity"
NOBODY_S = "sha256:" + "0" * 64


def pod(image: str, **security: Any) -> dict[str, Any]:
    """Return a pod that the namespace's level takes, but for what is said of its security."""
    given = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        **security,
    }
    container = {"name": "one", "image": image, "securityContext": given}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "intruder", "namespace": NAMESPACE},
        "spec": {"containers": [container]},
    }


def created(cluster: Cluster, document: dict[str, Any], code: int) -> str:
    """Ask the API server to create an object, all but writing it down."""
    return cluster.kubectl("create", "--dry-run=server", "--filename", "-", stdin=json.dumps(document), code=code)


def test_an_image_of_the_stack_by_its_digest_is_let_in(live: Workspace, cluster: Cluster) -> None:
    assert "created" in created(cluster, pod(image(cluster, "api")), 0)


@pytest.mark.parametrize(
    "named",
    [
        f"{REGISTRY}/{NAME}/api:latest",
        f"{REGISTRY}/{NAME}/api",
        f"{REGISTRY}/{NAME}/api@{NOBODY_S[:-1]}",
        f"{REGISTRY}/{NAME}-other/api@{NOBODY_S}",
        f"{REGISTRY}.example.com/{NAME}/api@{NOBODY_S}",
        f"docker.io/library/nginx@{NOBODY_S}",
    ],
    ids=["a tag", "nothing", "half a digest", "another workspace", "another registry", "docker.io"],
)
def test_an_image_without_digest_or_from_elsewhere_is_refused(live: Workspace, cluster: Cluster, named: str) -> None:
    said = created(cluster, pod(named), 1)
    assert POLICY in said or "Invalid value" in said, said
    assert LEVEL not in said


def test_it_holds_for_every_container_of_a_pod(live: Workspace, cluster: Cluster) -> None:
    document = pod(image(cluster, "api"))
    (good,) = document["spec"]["containers"]
    document["spec"]["initContainers"] = [{**good, "name": "first", "image": f"docker.io/library/nginx@{NOBODY_S}"}]
    assert POLICY in created(cluster, document, 1)


@pytest.mark.parametrize(
    "security",
    [
        {"privileged": True, "allowPrivilegeEscalation": True},
        {"runAsUser": 0},
        {"capabilities": {"add": ["NET_ADMIN"]}},
    ],
    ids=["privileged", "root", "a capability"],
)
def test_a_pod_with_more_rights_than_it_needs_is_refused(
    live: Workspace, cluster: Cluster, security: dict[str, Any]
) -> None:
    assert LEVEL in created(cluster, pod(image(cluster, "api"), **security), 1)


def test_another_namespace_is_left_alone(live: Workspace, cluster: Cluster) -> None:
    document = pod(f"docker.io/library/nginx@{NOBODY_S}")
    document["metadata"]["namespace"] = "default"
    assert "created" in created(cluster, document, 0)
