"""The rules of infra/policy: for each a resource that it refuses, with the remedy, and one that it lets be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pulumi_policy import EnforcementLevel, ResourceValidationArgs
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from infra.policy.__main__ import RULES, make_policies
from slipway._internal.model import lock
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway.policy import POD_TEMPLATE_PATHS, PolicyContext, Resource, Violation

DIGEST = "sha256:" + "a" * 64
RELEASED = f"reg.example/shop/release/api@{DIGEST}"
OWN = f"prod.example/shop/release/api@{DIGEST}"
BASE = f"reg.example/shop/base-nginx@{DIGEST}"
PROVEN = f"prod.example/shop/release/gateway@{DIGEST}"
CONTAINER, GATEWAY, BUILD = "slipway:docker:Container", "slipway:docker:Gateway", "docker-build:index:Image"
COMMAND, JOB = "slipway:docker:ReleaseCommand", "slipway:kubernetes:ReleaseCommand"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
HTTP_ROUTE = "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute"
INGRESS = "kubernetes:networking.k8s.io/v1:Ingress"
SERVICE = "kubernetes:core/v1:Service"


@pytest.fixture
def policy_context(tmp_path: Path) -> PolicyContext:
    """A workspace with a service that has a route, one that has none, and a protected stack."""
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "reg.example"\n')
    for name, settings in (("api", 'route = "/api"\nport = 8000\n'), ("worker", "")):
        (tmp_path / "services" / name).mkdir(parents=True)
        (tmp_path / "services" / name / "Dockerfile").write_text("FROM scratch\n")
        (tmp_path / "services" / name / "service.toml").write_text(f'kind = "x"\n{settings}')
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.dev.yaml").write_text(
        "config:\n  slipway:images: inline\n  slipway:protected: false\n"
    )
    (tmp_path / "infra" / "Pulumi.prod.yaml").write_text(
        "config:\n  slipway:images: external\n  slipway:protected: true\n  slipway:registry: prod.example\n"
    )
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "bases.lock.json").write_text(json.dumps({"source": "hardened", "bases": {"nginx": BASE}}))
    lines = {"services": {"api": {"ref": OWN, "content": ""}}, "beside": {"gateway": {"ref": PROVEN, "content": ""}}}
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "prod.lock.json").write_text(json.dumps({"stack": "prod", **lines}))
    return PolicyContext(tmp_path)


def found(
    rule: str, policy_context: PolicyContext, kind: str, props: Mapping[str, Any], stack: str = "dev"
) -> list[Violation]:
    check = next(each.check for each in RULES if each.name == rule)
    return list(check(Resource(kind, "thing", stack, props, policy_context)))


def pod(container: Mapping[str, Any] | None = None, label: str = "api", **spec: Any) -> dict[str, Any]:
    """Return what a Deployment is given, of one good container that `container` changes."""
    good = {
        "name": "api",
        "image": RELEASED,
        "resources": {"limits": {"memory": "256Mi", "cpu": "1"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    template = {
        "metadata": {"labels": {"app.kubernetes.io/name": label}},
        "spec": {"securityContext": {"runAsNonRoot": True}, "containers": [{**good, **(container or {})}], **spec},
    }
    return {"spec": {"template": template}}


def secured(**context: Any) -> dict[str, Any]:
    return pod({"securityContext": {"allowPrivilegeEscalation": False, **context}})


def backends(*names: str) -> dict[str, Any]:
    return {"spec": {"rules": [{"backendRefs": [{"name": name, "port": 80.0} for name in names]}]}}


def ingress(name: str) -> dict[str, Any]:
    return {"spec": {"rules": [{"http": {"paths": [{"path": "/", "backend": {"service": {"name": name}}}]}}]}}


def gateway(service: str = "api", route: str = "/api", **more: Any) -> dict[str, Any]:
    return {"image": BASE, "bind": "127.0.0.1", "routes": [{"service": service, "route": route}], **more}


BAD: list[tuple[str, str, Mapping[str, Any], str, str, str]] = [
    ("digest-only", CONTAINER, {"image": "reg.example/shop/api:v1"}, "dev", "shop/api:v1", "@sha256:"),
    ("digest-only", CONTAINER, {}, "dev", "(none)", "infra/"),
    ("digest-only", COMMAND, {"image": "reg.example/shop/api:v1"}, "dev", "shop/api:v1", "@sha256:"),
    ("digest-only", "slipway:docker:Job", {"image": "tick:v1"}, "dev", "tick:v1", "@sha256:"),
    ("digest-only", JOB, {"job": pod({"image": "api"})}, "dev", "api runs the image api", "@sha256:"),
    ("limits-set", COMMAND, {"service": "api", "memory": "1g"}, "dev", "no limit of `cpus`", "[resources] cpus"),
    ("digest-only", GATEWAY, gateway(image="nginx:latest"), "dev", "nginx:latest", "@sha256:"),
    ("digest-only", CONTAINER, {"image": f"api@{DIGEST}0"}, "dev", DIGEST, "@sha256:"),
    ("digest-only", DEPLOYMENT, pod({"image": "api"}), "dev", "api runs the image api", "@sha256:"),
    ("digest-only", DEPLOYMENT, pod(initContainers=[{"name": "first", "image": "sh:1"}]), "dev", "first", "@sha256:"),
    ("released-only", BUILD, {}, "prod", "would be built", "slipway:images: external` in infra/Pulumi.prod.yaml"),
    ("released-only", CONTAINER, {"image": f"reg.example/shop/api@{DIGEST}"}, "prod", "not passed", "invoke ship"),
    (
        "released-only",
        DEPLOYMENT,
        pod({"image": f"evil.example/x@{DIGEST}"}),
        "prod",
        "evil.example",
        "deploy/prod.lock",
    ),
    ("released-only", CONTAINER, {"image": RELEASED}, "prod", "not passed", "invoke ship"),
    ("released-only", CONTAINER, {"image": OWN.replace("a" * 64, "b" * 64)}, "prod", "not passed", "invoke ship"),
    ("released-only", GATEWAY, gateway(), "prod", "base-nginx", "of the gateway through the gate"),
    ("nothing-privileged", DEPLOYMENT, pod(hostNetwork=True), "dev", "network", "`hostNetwork`"),
    ("nothing-privileged", DEPLOYMENT, pod(hostPID=True), "dev", "processes", "`hostPID`"),
    ("nothing-privileged", DEPLOYMENT, pod(hostIPC=True), "dev", "shared memory", "`hostIPC`"),
    (
        "nothing-privileged",
        DEPLOYMENT,
        pod(volumes=[{"name": "sock", "hostPath": {"path": "/run"}}]),
        "dev",
        "`sock`",
        "`hostPath`",
    ),
    ("nothing-privileged", DEPLOYMENT, secured(privileged=True, runAsNonRoot=True), "dev", "privileged", "privileged"),
    ("nothing-privileged", DEPLOYMENT, secured(capabilities={"add": ["NET_ADMIN"]}), "dev", "NET_ADMIN", "add`"),
    ("nothing-privileged", DEPLOYMENT, pod({"securityContext": {}}), "dev", "gain privileges", "to false"),
    ("nothing-privileged", DEPLOYMENT, pod(securityContext={}), "dev", "root", "runAsNonRoot"),
    ("nothing-privileged", DEPLOYMENT, secured(runAsUser=0.0), "dev", "root", "runAsUser"),
    ("limits-set", CONTAINER, {"service": "api", "cpus": 1.0}, "dev", "`memory`", "services/api/service.toml"),
    ("limits-set", CONTAINER, {"service": "api", "memory": "1m"}, "dev", "`cpus`", "[resources] cpus = 1.0"),
    ("limits-set", CONTAINER, {"service": "other", "memory": "1m"}, "prod", "`cpus`", "infra/ declares `thing`"),
    ("limits-set", DEPLOYMENT, pod({"resources": {}}), "dev", "`memory`", "[resources] memory"),
    ("limits-set", DEPLOYMENT, pod({"resources": {}}, label="own"), "dev", "`memory`", "`resources.limits.memory`"),
    ("limits-set", DEPLOYMENT, pod({"resources": {"limits": {"memory": "1Mi"}}}), "dev", "`cpu`", "cpus = 1.0"),
    ("exposed-by-route", GATEWAY, gateway(bind="0.0.0.0"), "dev", "0.0.0.0", "`bind` of [gateway]"),
    ("exposed-by-route", GATEWAY, gateway("worker", "/w"), "dev", "no such `route`", "services/worker/service.toml"),
    ("exposed-by-route", GATEWAY, gateway("api", "/other"), "dev", "/other", "services/api/service.toml"),
    ("exposed-by-route", GATEWAY, gateway("own", "/own"), "dev", "not a service of this workspace", "invoke new own"),
    ("exposed-by-route", SERVICE, {"spec": {"type": "LoadBalancer"}}, "dev", "LoadBalancer", "`route`"),
    ("exposed-by-route", SERVICE, {"spec": {"type": "NodePort"}}, "dev", "NodePort", "`type`"),
    ("exposed-by-route", SERVICE, {"spec": {"externalIPs": ["10.0.0.1"]}}, "dev", "externalIPs", "`route`"),
    ("exposed-by-route", HTTP_ROUTE, backends("api", "worker"), "dev", "worker", "services/worker/service.toml"),
    ("exposed-by-route", INGRESS, ingress("worker"), "dev", "worker", "services/worker/service.toml"),
    (
        "exposed-by-route",
        INGRESS,
        {"spec": {"defaultBackend": {"service": {"name": "own"}}}},
        "dev",
        "own",
        "invoke new own",
    ),
    ("exposed-by-route", DEPLOYMENT, pod({"ports": [{"hostPort": 80.0}]}), "dev", "the port 80 of", "`hostPort`"),
]


@pytest.mark.parametrize(("rule", "kind", "props", "stack", "what", "remedy"), BAD)
def test_a_rule_refuses_and_says_what_and_the_remedy(
    policy_context: PolicyContext, rule: str, kind: str, props: Mapping[str, Any], stack: str, what: str, remedy: str
) -> None:
    violations = found(rule, policy_context, kind, props, stack)
    assert any(what in each.message and remedy in each.remedy for each in violations), violations


GOOD: list[tuple[str, str, Mapping[str, Any], str]] = [
    ("digest-only", CONTAINER, {"image": RELEASED}, "dev"),
    ("digest-only", GATEWAY, gateway(), "dev"),
    ("digest-only", "kubernetes:core/v1:ConfigMap", {"data": {"image": "a:1"}}, "dev"),
    ("released-only", BUILD, {}, "dev"),
    ("released-only", CONTAINER, {"image": f"reg.example/shop/api@{DIGEST}"}, "dev"),
    ("released-only", CONTAINER, {"image": OWN}, "prod"),
    ("released-only", DEPLOYMENT, pod({"image": OWN}), "prod"),
    ("released-only", GATEWAY, gateway(image=PROVEN), "prod"),
    ("nothing-privileged", CONTAINER, {"image": RELEASED}, "dev"),
    ("nothing-privileged", DEPLOYMENT, secured(runAsNonRoot=True, runAsUser=10001.0), "dev"),
    ("limits-set", CONTAINER, {"service": "api", "memory": "256m", "cpus": 0.5}, "dev"),
    ("limits-set", GATEWAY, gateway(), "dev"),
    ("exposed-by-route", GATEWAY, gateway(), "dev"),
    ("exposed-by-route", SERVICE, {"spec": {"type": "ClusterIP"}}, "dev"),
    ("exposed-by-route", SERVICE, {"spec": {}}, "dev"),
    ("exposed-by-route", HTTP_ROUTE, backends("api"), "dev"),
    ("exposed-by-route", INGRESS, ingress("api"), "dev"),
]


@pytest.mark.parametrize(("rule", "kind", "props", "stack"), GOOD)
def test_a_rule_lets_what_is_right_be(
    policy_context: PolicyContext, rule: str, kind: str, props: Mapping[str, Any], stack: str
) -> None:
    assert not found(rule, policy_context, kind, props, stack)


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_no_rule_has_anything_against_a_good_deployment(policy_context: PolicyContext, rule: str) -> None:
    assert not found(rule, policy_context, DEPLOYMENT, pod({"image": OWN}), "prod")


def test_a_deploys_rules_go_by_what_was_proven_and_not_by_the_lock_as_it_is_now(policy_context: PolicyContext) -> None:
    proven = DeployInputs(
        policy_context.workspace,
        policy_context.stack("prod"),
        {"api": lock.LockEntry(OWN.replace("a" * 64, "c" * 64), "")},
        {},
    )
    judged = PolicyContext(policy_context.workspace.root, proven, previous_images={RELEASED})
    assert found("released-only", judged, CONTAINER, {"image": OWN}, "prod")
    assert not found("released-only", judged, CONTAINER, {"image": OWN.replace("a" * 64, "c" * 64)}, "prod")
    assert not found("released-only", judged, CONTAINER, {"image": RELEASED}, "prod"), "what ran before goes back"


@pytest.mark.parametrize(("kind", "path"), POD_TEMPLATE_PATHS.items())
def test_pods_are_found_in_every_kind_that_makes_them(
    policy_context: PolicyContext, kind: str, path: tuple[str, ...]
) -> None:
    props: dict[str, Any] = {"spec": {"containers": [{"name": "c", "image": "a:1"}]}}
    for key in reversed(path):
        props = {key: props}
    group = {"Pod": "core/v1", "PodTemplate": "core/v1", "CronJob": "batch/v1", "Job": "batch/v1"}.get(kind, "apps/v1")
    assert len(found("digest-only", policy_context, f"kubernetes:{group}:{kind}", props)) == 1


def reported(policy: Any, props: dict[str, Any], kind: str) -> list[str]:
    said: list[str] = []
    given = ResourceValidationArgs(
        kind,
        unknown_checking_proxy(props),
        f"urn:pulumi:dev::shop::{kind}::thing",
        "thing",
        None,  # type: ignore[arg-type]
        None,
    )
    policy.validate(given, lambda message, _urn: said.append(message))
    return said


def test_what_a_preview_does_not_know_is_no_violation(policy_context: PolicyContext) -> None:
    ours = {rule.name: rule.to_pulumi_policy(policy_context, EnforcementLevel.MANDATORY) for rule in RULES}
    unknown = {"service": "api", "image": UNKNOWN_STRING_VALUE, "memory": UNKNOWN_STRING_VALUE, "cpus": 1.0}
    for policy in ours.values():
        assert reported(policy, dict(unknown), CONTAINER) == []
    assert reported(ours["digest-only"], {**unknown, "image": "api:1"}, CONTAINER)


def test_every_rule_is_a_policy_that_refuses_and_says_the_remedy_in_a_line(policy_context: PolicyContext) -> None:
    for policy in make_policies(policy_context):
        assert policy.enforcement_level is EnforcementLevel.MANDATORY
        assert policy.description.endswith(".")
    limits = next(rule for rule in RULES if rule.name == "limits-set").to_pulumi_policy(
        policy_context, EnforcementLevel.MANDATORY
    )
    (said,) = reported(limits, {"service": "api", "memory": "1m"}, CONTAINER)
    assert said.splitlines()[-1].startswith("remedy: Give it one in services/api/service.toml")
