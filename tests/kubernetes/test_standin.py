"""The stand-in for Pulumi's `kubernetes` plugin, on the real engine, the real typed SDK and a real API server.

With SLIPWAY_K8S_PROVIDER=official the same tests say what the official plugin does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
from pulumi import automation
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from tests.kubernetes.world import Cluster, probe, wait_until

from slipway._internal.toolchain.install import ensure_tool

SPACE = "slipway-k8s-standin"
PASSPHRASE = "of the tests"
SECRET = "open sesame to all"
QUIET = {"pulumi.com/skipAwait": "true"}


@dataclass
class World:
    """One stack, whose program is put together by a test."""

    stack: automation.Stack
    folder: Path
    image: str
    provider: dict[str, Any]
    build: Callable[[pulumi.ResourceOptions], None] = lambda _options: None

    def up(self) -> dict[str, int]:
        """Deploy, and return how many resources were created, changed and so on."""
        return dict(self.stack.up().summary.resource_changes or {})

    def state(self) -> str:
        """Return the stack's state as it is stored; Pulumi's own export would decrypt it."""
        (file,) = self.folder.glob(".pulumi/stacks/*/test.json")
        return file.read_text(encoding="utf-8")

    def resource(self, name: str) -> dict[str, Any]:
        """Return a resource of the state."""
        resources = json.loads(self.state())["checkpoint"]["latest"]["resources"]
        return next(each for each in resources if each["urn"].endswith(f"::{name}"))


@pytest.fixture
def world(cluster: Cluster, probe_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty stack with a namespace of its own; all of it is destroyed afterwards."""
    monkeypatch.setenv("PATH", f"{ensure_tool('pulumi').parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("state", "work"):
        (tmp_path / name).mkdir()
    variables = {
        "PULUMI_BACKEND_URL": f"file://{tmp_path / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_HOME": str(tmp_path / "home"),
    }
    cluster.remove(SPACE)

    def program() -> None:
        provider = kubernetes.Provider("cluster", kubeconfig=str(cluster.kubeconfig), **made.provider)
        options = pulumi.ResourceOptions(provider=provider)
        space = kubernetes.core.v1.Namespace("space", metadata={"name": SPACE}, opts=options)
        made.build(pulumi.ResourceOptions(provider=provider, depends_on=[space]))

    options = automation.LocalWorkspaceOptions(work_dir=str(tmp_path / "work"), env_vars=variables)
    stack = automation.create_or_select_stack("test", "standin", program, opts=options)
    made = World(stack, tmp_path / "state", probe_image, {})
    yield made
    stack.destroy()
    assert cluster.kubectl("get", "namespace", SPACE, code=1)


def named(name: str, **annotations: str) -> Any:
    """Return the metadata of an object of the tests."""
    return ObjectMetaArgs(name=name, namespace=SPACE, annotations=annotations or None)


def deployment(world: World, options: pulumi.ResourceOptions, *, image: str = "", seconds: str = "60s") -> None:
    """Declare the probe's Deployment."""
    about = probe(image or world.image, "one", SPACE, replicas=2)[0]
    about["spec"]["progressDeadlineSeconds"] = 5
    timeouts = pulumi.CustomTimeouts(create=seconds, update=seconds)
    waiting = pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(custom_timeouts=timeouts))
    kubernetes.apps.v1.Deployment("one", metadata=named("one"), spec=about["spec"], opts=waiting)


def test_a_deployment_is_waited_for_until_all_its_pods_are_ready(world: World, cluster: Cluster) -> None:
    world.build = lambda options: deployment(world, options)
    assert world.up()["create"] == 4
    status = cluster.get("deployment", "one", "--namespace", SPACE)["status"]
    assert (status["readyReplicas"], status["updatedReplicas"]) == (2, 2)
    assert set(world.up()) == {"same"}


def test_a_preview_asks_the_api_server_and_changes_nothing(world: World, cluster: Cluster) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    spec = {"selector": {}, "ports": [{"port": 99999999}]}

    def build(options: pulumi.ResourceOptions) -> None:
        kubernetes.core.v1.Service("s", metadata=named("s"), spec=spec, opts=options)

    world.build = build
    with pytest.raises(automation.CommandError, match="99999999"):
        world.stack.preview()
    assert cluster.get("services", "--namespace", SPACE)["items"] == []
    cluster.remove(SPACE)


def test_a_broken_rollout_fails_with_the_pods_reasons_and_stays_in_the_state(world: World, cluster: Cluster) -> None:
    world.build = lambda options: deployment(world, options)
    world.up()
    broken = world.image.partition("@")[0] + "@sha256:" + "0" * 64
    world.build = lambda options: deployment(world, options, image=broken, seconds="12s")
    with pytest.raises(automation.CommandError) as failed:
        world.up()
    said = str(failed.value)
    assert "ProgressDeadlineExceeded" in said
    assert "PullBackOff" in said or "ErrImagePull" in said
    assert world.resource("one")["initErrors"]
    assert cluster.get("deployment", "one", "--namespace", SPACE)["status"]["readyReplicas"] == 2
    world.build = lambda options: deployment(world, options)
    assert world.up()["update"] == 1
    assert "initErrors" not in world.resource("one")


def test_a_secret_is_plain_nowhere_in_the_state(world: World, cluster: Cluster) -> None:
    def build(options: pulumi.ResourceOptions) -> None:
        data = {"password": pulumi.Output.secret(SECRET)}
        kubernetes.core.v1.Secret("s", metadata=named("s"), string_data=data, opts=options)

    world.build = build
    world.up()
    encoded = cluster.get("secret", "s", "--namespace", SPACE)["data"]["password"]
    assert SECRET not in world.state()
    assert encoded not in world.state()
    assert set(world.up()) == {"same"}


def test_a_field_that_is_left_out_later_goes(world: World, cluster: Cluster) -> None:
    labels = {"kept": "1", "gone": "1"}

    def build(options: pulumi.ResourceOptions) -> None:
        about = ObjectMetaArgs(name="s", namespace=SPACE, labels=labels)
        kubernetes.core.v1.ServiceAccount("s", metadata=about, opts=options)

    world.build = build
    world.up()
    labels = {"kept": "2"}
    assert world.up()["update"] == 1
    assert cluster.get("serviceaccount", "s", "--namespace", SPACE)["metadata"]["labels"] == {"kept": "2"}


def test_another_s_field_is_left_alone_and_a_conflict_is_an_error_unless_forced(world: World, cluster: Cluster) -> None:
    data, force = {"ours": "1"}, {}

    def build(options: pulumi.ResourceOptions) -> None:
        kubernetes.core.v1.ServiceAccount(
            "s",
            metadata=ObjectMetaArgs(name="s", namespace=SPACE, labels=data, annotations=force or None),
            opts=options,
        )

    world.build = build
    world.up()
    cluster.kubectl("label", "serviceaccount", "s", "theirs=1", "--namespace", SPACE)
    data = {"ours": "2"}
    world.up()
    cluster.kubectl("label", "--overwrite", "serviceaccount", "s", "ours=3", "--namespace", SPACE)
    data = {"ours": "4"}
    with pytest.raises(automation.CommandError, match="conflict"):
        world.up()
    force = {"pulumi.com/patchForce": "true"}
    world.up()
    found = cluster.get("serviceaccount", "s", "--namespace", SPACE)["metadata"]["labels"]
    assert found == {"ours": "4", "theirs": "1"}


def test_what_cannot_be_changed_is_replaced_the_old_one_first_where_the_name_is_the_same(
    world: World, cluster: Cluster
) -> None:
    data = {"a": "1"}

    def build(options: pulumi.ResourceOptions) -> None:
        kubernetes.core.v1.ConfigMap("fixed", metadata=named("fixed"), data=data, opts=options)
        free = ObjectMetaArgs(namespace=SPACE)
        kubernetes.core.v1.ConfigMap("free", metadata=free, data=data, opts=options)

    world.build = build
    world.up()
    before = {each["metadata"]["uid"] for each in _maps(cluster)}
    data = {"a": "2"}
    assert world.up()["replace"] == 2
    after = _maps(cluster)
    assert before.isdisjoint(each["metadata"]["uid"] for each in after)
    assert [each["data"] for each in after] == [{"a": "2"}] * 2


def test_what_exists_already_is_not_taken_over(world: World, cluster: Cluster) -> None:
    world.up()
    cluster.kubectl("create", "serviceaccount", "s", "--namespace", SPACE)

    def build(options: pulumi.ResourceOptions) -> None:
        kubernetes.core.v1.ServiceAccount("s", metadata=named("s"), opts=options)

    world.build = build
    with pytest.raises(automation.CommandError, match="already exists"):
        world.up()


def test_a_refresh_sees_what_somebody_changed_and_the_next_up_sets_it_back(world: World, cluster: Cluster) -> None:
    world.build = lambda options: deployment(world, options)
    world.up()
    cluster.kubectl("scale", "deployment/one", "--replicas=1", "--namespace", SPACE)
    wait_until(lambda: len(cluster.pods(SPACE)) == 1, "one pod is left")
    world.stack.refresh()
    with pytest.raises(automation.CommandError, match="conflict"):  # the field is kubectl's now, and nothing forces
        world.up()
    world.provider = {"enable_patch_force": True}
    assert world.up()["update"] >= 1
    assert len(cluster.pods(SPACE)) == 2


def test_a_refresh_forgets_what_somebody_deleted(world: World, cluster: Cluster) -> None:
    def build(options: pulumi.ResourceOptions) -> None:
        kubernetes.core.v1.ServiceAccount("s", metadata=named("s"), opts=options)

    world.build = build
    world.up()
    cluster.kubectl("delete", "serviceaccount", "s", "--namespace", SPACE)
    world.stack.refresh()
    assert world.up()["create"] == 1


def test_a_service_waits_until_its_endpoints_have_settled_unless_it_is_told_not_to(world: World) -> None:
    spec = probe(world.image, "one", SPACE)[1]["spec"]

    def build(options: pulumi.ResourceOptions) -> None:
        deployment(world, options)
        kubernetes.core.v1.Service("waited", metadata=named("waited"), spec=spec, opts=options)
        kubernetes.core.v1.Service("quiet", metadata=named("quiet", **QUIET), spec=spec, opts=options)

    world.build = build
    took: dict[str, float] = {}
    started: dict[str, float] = {}

    def note(event: automation.EngineEvent) -> None:
        for each, times in ((event.resource_pre_event, started), (event.res_outputs_event, took)):
            if each:
                name = each.metadata.urn.rpartition("::")[2]
                times[name] = float(event.timestamp) - (started.get(name, 0.0) if times is took else 0.0)

    world.stack.up(on_event=note)
    assert took["waited"] >= 9
    assert took["quiet"] < 9


def test_a_job_that_fails_is_an_error_and_one_that_ends_well_is_waited_for(world: World) -> None:
    about = probe(world.image, "one", SPACE)[0]["spec"]["template"]
    container = {**about["spec"]["containers"][0], "command": ["/nothing"]}
    container.pop("readinessProbe")
    spec = {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}

    def build(options: pulumi.ResourceOptions) -> None:
        timeouts = pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="30s"))
        merged = pulumi.ResourceOptions.merge(options, timeouts)
        kubernetes.batch.v1.Job("job", metadata=named("job"), spec=spec, opts=merged)

    world.build = build
    with pytest.raises(automation.CommandError, match="BackoffLimitExceeded"):
        world.up()


def test_objects_of_the_gateway_api_are_objects_like_any(world: World, cluster: Cluster) -> None:
    rules = [{"backendRefs": [{"name": "one", "port": 80}]}]

    def build(options: pulumi.ResourceOptions) -> None:
        kubernetes.apiextensions.CustomResource(
            "route",
            api_version="gateway.networking.k8s.io/v1",
            kind="HTTPRoute",
            metadata=named("route"),
            spec={"hostnames": ["a.example"], "parentRefs": [{"name": "gate"}], "rules": rules},
            opts=options,
        )

    world.build = build
    world.up()
    assert cluster.get("httproute", "route", "--namespace", SPACE)["spec"]["hostnames"] == ["a.example"]
    assert set(world.up()) == {"same"}


def _maps(cluster: Cluster) -> list[dict[str, Any]]:
    found = cluster.get("configmaps", "--namespace", SPACE)["items"]
    return [each for each in found if each["metadata"]["name"] != "kube-root-ca.crt"]
