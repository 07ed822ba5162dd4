"""A stack on Kubernetes declares what its services need, hardened, and denies all other traffic."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.targets.kubernetes.conftest import change, settings
from tests.unit.targets.kubernetes.declared import DIGEST, Declared, declare, decoded, login_of

from slipway._internal.model.errors import ConfigError

MIGRATED = 'needs = ["worker"]\nrelease = ["python", "-m", "app.migrate"]'
SECRET = {"web": {"SESSION_KEY": "hunter2"}}


def test_the_demo_is_declared_whole_and_all_is_waited_for(root: Path) -> None:
    found = declare(root)
    service = {"ServiceAccount", "ConfigMap", "NetworkPolicy", "Deployment"}
    assert found.kinds("api") == found.kinds("web") == {*service, "Service"}
    assert found.kinds("worker") == service
    assert found.kinds("demo-dev") == {"Namespace"}
    stacks_own = {name for kind, name in found.objects if name.startswith("slipway.")}
    assert stacks_own == {"slipway.closed", "slipway.names", "slipway.egress", "slipway.demo-dev.images"}
    assert found.waited == found.objects.keys(), "the release is live when all of it is in place"
    assert found.urls == {}


def test_what_is_declared_is_a_tree_and_known_by_where_it_was_declared_before(root: Path) -> None:
    settings(root, "gateway: nginx", "tls: cert", "host: demo.example")
    change(root, "api", "", "[scale]\nmin = 2\nmax = 4")
    found = declare(root, SECRET)
    stack = ("KubernetesServices", "dev")
    assert found.tree[stack] == ("", "")
    for which in found.objects:
        service = ("KubernetesService", which[1])
        assert found.tree[which] == (service if service in found.tree else stack), which
        assert which in found.flat, which
    assert {name for kind, name in found.tree if kind == "KubernetesService"} == {"api", "web", "worker"}
    assert found.tree["KubernetesService", "api"] == stack


def test_every_object_is_named_and_labelled(root: Path) -> None:
    settings(root, "gateway: nginx", "tls: cert", "host: demo.example")
    change(root, "api", "", "[scale]\nmin = 2\nmax = 4")
    found = declare(root, SECRET)
    assert len(found.manifests()) == len(found.objects) - 2  # all but the provider and the suffix
    for (kind, name), each in found.objects.items():
        if "apiVersion" not in each:
            continue
        labels = each["metadata"]["labels"]
        assert each["metadata"]["name"].startswith(
            name if name in ("api", "web", "worker") else each["metadata"]["name"]
        )
        assert labels["app.kubernetes.io/part-of"] == "demo", kind
        assert labels["app.kubernetes.io/managed-by"] == "slipway"
        assert labels["slipway.stack"] == "dev"
        assert each["metadata"]["annotations"]["pulumi.com/patchForce"] == "true", "what `kubectl edit` set is set back"
        if name in ("api", "web", "worker"):
            assert labels["app.kubernetes.io/name"] == name
            assert each["metadata"]["namespace"] == "demo-dev"


def test_the_namespace_asks_for_restricted_pods(root: Path) -> None:
    labels = declare(root)["Namespace", "demo-dev"]["metadata"]["labels"]
    for mode in ("enforce", "warn", "audit"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
        assert labels[f"pod-security.kubernetes.io/{mode}-version"] == "latest"


def test_a_pod_may_do_nothing_that_it_does_not_need(root: Path) -> None:
    found = declare(root)
    for name in ("api", "web", "worker"):
        pod, container = found.pod(name), found.container(name)
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False
        assert found["ServiceAccount", name]["automountServiceAccountToken"] is False
        assert (pod["serviceAccountName"], pod["enableServiceLinks"]) == (name, False)
        assert container["name"] == name
        assert container["image"] == f"registry.example/demo/{name}{DIGEST}"
        assert pod["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]
        assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_tmp_is_as_large_as_the_service_says(root: Path) -> None:
    change(root, "api", "[resources]", '[tmp]\nexec = true\nsize = "64m"\n\n[resources]')
    assert declare(root).pod("api")["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]


def test_services_on_one_port_have_each_their_own_address(root: Path) -> None:
    change(root, "web", "port = 3000", "port = 8000")
    found = declare(root)
    for name in ("api", "web"):
        assert [each["port"] for each in found["Service", name]["spec"]["ports"]] == [8000]
        assert [each["containerPort"] for each in found.container(name)["ports"]] == [8000]


def test_pods_go_where_their_image_can_run_and_are_spread(root: Path) -> None:
    text = (root / "workspace.toml").read_text()
    (root / "workspace.toml").write_text(f'{text}\n[build]\nplatforms = ["linux/arm64", "linux/amd64"]\n')
    pod = declare(root).pod("api")
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert {each["key"]: each["values"] for each in term["matchExpressions"]} == {
        "kubernetes.io/os": ["linux"],
        "kubernetes.io/arch": ["amd64", "arm64"],
    }
    spread = pod["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert {each["whenUnsatisfiable"] for each in spread} == {"ScheduleAnyway"}


def test_limits_are_the_services_own_or_some_that_do_no_harm(root: Path) -> None:
    change(root, "api", 'memory = "256m"\ncpus = 1.0', 'memory = "2g"\ncpus = 0.3\ngpu = 2')
    change(root, "web", '[resources]\nmemory = "256m"\ncpus = 1.0', "")
    found = declare(root)
    assert found.container("api")["resources"] == {
        "limits": {"memory": "2Gi", "cpu": "300m", "nvidia.com/gpu": "2"},
        "requests": {"memory": "2Gi", "cpu": "75m", "nvidia.com/gpu": "2"},
    }
    assert found.pod("api")["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert found.container("web")["resources"] == {
        "limits": {"memory": "256Mi", "cpu": "1000m"},
        "requests": {"memory": "256Mi", "cpu": "250m"},
    }
    assert "tolerations" not in found.pod("web")


def test_without_a_path_probes_are_the_dockerfiles_own_health_check(root: Path) -> None:
    without_health_path(root, "api")
    container = declare(root).container("api")
    command = {"command": ["/app/.venv/bin/python", "-m", "app.health"]}
    started = {"periodSeconds": 2, "timeoutSeconds": 15, "failureThreshold": 30}
    assert container["startupProbe"] == {"tcpSocket": {"port": 8000}, **started}
    assert container["readinessProbe"] == {
        "exec": command,
        "periodSeconds": 10,
        "timeoutSeconds": 15,
        "failureThreshold": 3,
    }
    assert container["livenessProbe"] == {
        **container["readinessProbe"],
        "periodSeconds": 60,
        "initialDelaySeconds": 60,
    }


def test_a_health_path_is_asked_as_often_as_the_health_check_says(root: Path) -> None:
    found = declare(root)
    for service, port in (("api", 8000), ("web", 3000)):
        container = found.container(service)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"] == {"path": "/health", "port": port}
            assert "exec" not in container[probe]
        assert container["readinessProbe"]["periodSeconds"] == 10


def without_health_path(root: Path, service: str) -> None:
    path = root / "services" / service / "service.toml"
    path.write_text(path.read_text().replace('health = "/health"\n', ""))


def without_health_check(root: Path, service: str) -> None:
    path = root / "services" / service / "Dockerfile"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("HEALTHCHECK")))


def test_without_a_health_check_the_port_is_knocked_at_and_without_a_port_nothing_is_asked(root: Path) -> None:
    without_health_path(root, "api")
    without_health_check(root, "api")
    without_health_check(root, "worker")
    found = declare(root)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert found.container("api")[probe]["tcpSocket"] == {"port": 8000}
        assert probe not in found.container("worker")
    assert "restartPolicy" not in found.pod("worker")


def test_a_slow_start_is_waited_for(root: Path) -> None:
    path = root / "services" / "api" / "Dockerfile"
    path.write_text(path.read_text().replace("--start-period=20s", "--start-period=5m --start-interval=9.5s"))
    found = declare(root)
    startup = found.container("api")["startupProbe"]
    assert (startup["periodSeconds"], startup["failureThreshold"]) == (10, 33)
    assert found["Deployment", "api"]["spec"]["progressDeadlineSeconds"] == 330 + 60
    assert found["Deployment", "web"]["spec"]["progressDeadlineSeconds"] == 60 + 60


@pytest.mark.parametrize(("says", "seconds"), [("start-timeout = 300", 300), ("start-timeout = 10", 20)])
def test_a_start_takes_as_long_as_the_service_says_and_its_health_checks_start_period(
    root: Path, says: str, seconds: int
) -> None:
    change(root, "api", "port = 8000", f"port = 8000\n{says}")
    found = declare(root)
    startup = found.container("api")["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == seconds
    assert found["Deployment", "api"]["spec"]["progressDeadlineSeconds"] == seconds + 60


def test_without_a_port_the_health_check_is_asked_from_the_start(root: Path) -> None:
    container = declare(root).container("worker")
    assert container["startupProbe"]["exec"] == container["livenessProbe"]["exec"]
    assert "initialDelaySeconds" not in container["livenessProbe"]


def test_new_pods_are_well_before_old_ones_go_and_those_answer_to_the_end(root: Path) -> None:
    found = declare(root)
    spec = found["Deployment", "api"]["spec"]
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0},
    }
    assert spec["minReadySeconds"] == 2
    assert found.container("api")["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert found.pod("api")["terminationGracePeriodSeconds"] == 30 + 5
    assert "lifecycle" not in found.container("worker")
    assert found.pod("worker")["terminationGracePeriodSeconds"] == 30


@pytest.mark.parametrize(("drain", "seconds"), [(90, 95), (1, 15)])
def test_requests_in_flight_have_as_long_as_the_service_says_and_never_less_than_docker_gives(
    root: Path, drain: int, seconds: int
) -> None:
    change(root, "api", "port = 8000", f"port = 8000\ndrain = {drain}")
    assert declare(root).pod("api")["terminationGracePeriodSeconds"] == seconds


def test_orphans_are_taken_in_by_the_pods_own_first_process(root: Path) -> None:
    assert declare(root).pod("api")["shareProcessNamespace"] is True


def test_the_selector_never_changes(root: Path) -> None:
    chosen = {"app.kubernetes.io/name": "api", "app.kubernetes.io/part-of": "demo"}
    found = declare(root)
    assert found["Deployment", "api"]["spec"]["selector"] == {"matchLabels": chosen}
    assert found["Service", "api"]["spec"]["selector"] == chosen
    assert chosen.items() <= found["Deployment", "api"]["spec"]["template"]["metadata"]["labels"].items()


def test_another_environment_is_another_config_map(root: Path) -> None:
    before = declare(root)
    change(root, "worker", 'INTERVAL_SECONDS = "5"', 'INTERVAL_SECONDS = "6"')
    after = declare(root)
    names = [each["ConfigMap", "worker"]["metadata"]["name"] for each in (before, after)]
    assert names[0] != names[1]
    assert after["ConfigMap", "worker"]["data"] == {"API_URL": "http://api:8000/api", "INTERVAL_SECONDS": "6"}
    assert after["ConfigMap", "worker"]["immutable"] is True
    for found, name in zip((before, after), names, strict=True):
        assert found.container("worker")["envFrom"] == [{"configMapRef": {"name": name}}]
    assert before["ConfigMap", "api"]["metadata"] == after["ConfigMap", "api"]["metadata"]


def test_secrets_are_files_that_only_the_pods_group_reads(root: Path) -> None:
    found = declare(root, SECRET)
    secret = found["Secret", "web"]
    assert secret["metadata"]["name"] == "web-0123456789"
    assert secret["immutable"] is True
    assert decoded(value_of(secret["data"])["SESSION_KEY"]) == "hunter2"
    pod = found.pod("web")
    assert {"name": "secrets", "secret": {"secretName": "web-0123456789", "defaultMode": 0o440}} in pod["volumes"]
    assert pod["securityContext"]["fsGroup"] == 65532
    mount = {"name": "secrets", "mountPath": "/run/secrets", "readOnly": True}
    assert mount in found.container("web")["volumeMounts"]
    assert "fsGroup" not in found.pod("api")["securityContext"]


def test_what_is_secret_stands_only_where_the_state_encrypts_it(root: Path) -> None:
    found = declare(root, SECRET)
    shown = json.dumps([without_secrets(each) for each in found.objects.values()])
    assert "hunter2" not in shown
    assert base64.b64encode(b"hunter2").decode() not in shown
    assert value_of(found["Suffix", "web"]["of"]) == {"SESSION_KEY": "hunter2"}


def test_the_number_of_pods_is_declared_unless_an_autoscaler_sets_it(root: Path) -> None:
    change(root, "api", "", "[scale]\nmin = 2\nmax = 6\ncpu = 60")
    change(root, "web", "", "[scale]\nmin = 3\nmax = 3")
    found = declare(root)
    assert "replicas" not in found["Deployment", "api"]["spec"]
    assert found["HorizontalPodAutoscaler", "api"]["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"},
        "minReplicas": 2,
        "maxReplicas": 6,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "600m"}},
            }
        ],
    }
    assert found["Deployment", "web"]["spec"]["replicas"] == 3
    assert found["Deployment", "worker"]["spec"]["replicas"] == 1
    assert ("HorizontalPodAutoscaler", "web") not in found.objects


def test_a_budget_lets_one_pod_go_and_stands_in_the_way_of_no_single_one(root: Path) -> None:
    change(root, "web", "", "[scale]\nmin = 2\nmax = 2")
    found = declare(root)
    budget = found["PodDisruptionBudget", "web"]["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert "PodDisruptionBudget" not in found.kinds("api")


def test_a_job_runs_to_its_end_one_at_a_time(root: Path) -> None:
    change(root, "worker", "", '[job]\nschedule = "0 3 * * *"')
    found = declare(root, {"worker": {"TOKEN": "hunter2"}})
    assert found.kinds("worker") == {"ServiceAccount", "ConfigMap", "Secret", "Suffix", "NetworkPolicy", "CronJob"}
    spec = found["CronJob", "worker"]["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("0 3 * * *", "Etc/UTC", "Forbid")
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 2
    pod, container = found.pod("worker"), found.container("worker")
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert not {"startupProbe", "readinessProbe", "livenessProbe", "lifecycle"} & container.keys()


def test_the_namespace_is_closed_but_for_names_and_the_internet(root: Path) -> None:
    found = declare(root)
    assert found["NetworkPolicy", "slipway.closed"]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    (names,) = found["NetworkPolicy", "slipway.names"]["spec"]["egress"]
    assert names["ports"] == [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    (outside,) = found["NetworkPolicy", "slipway.egress"]["spec"]["egress"]
    blocks = {each["ipBlock"]["cidr"]: each["ipBlock"]["except"] for each in outside["to"]}
    assert set(blocks) == {"0.0.0.0/0", "::/0"}
    assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(blocks["0.0.0.0/0"])  # the cluster, the cloud's metadata


def test_services_reach_whom_they_need_and_nobody_else(root: Path) -> None:
    found = declare(root)

    def pods(name: str) -> dict[str, Any]:
        chosen = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "demo"}
        return {"podSelector": {"matchLabels": chosen}}

    port = [{"protocol": "TCP", "port": 8000}]
    assert found["NetworkPolicy", "worker"]["spec"] == {
        **pods("worker"),
        "policyTypes": ["Egress"],
        "egress": [{"to": [pods("api")], "ports": port}],
    }
    assert found["NetworkPolicy", "api"]["spec"] == {
        **pods("api"),
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [pods("web"), pods("worker")], "ports": port}],
    }


def test_only_an_exposed_stack_lets_requests_in_and_only_from_where_it_says(root: Path) -> None:
    settings(root, "parent: infra/public")
    assert {"ports": [{"protocol": "TCP", "port": 3000}]} in declare(root)["NetworkPolicy", "web"]["spec"]["ingress"]
    settings(root, "parent: infra/public", "ingress-from: infra, 10.1.0.0/16")
    (rule,) = declare(root)["NetworkPolicy", "web"]["spec"]["ingress"]
    assert rule["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "infra"}}},
        {"ipBlock": {"cidr": "10.1.0.0/16"}},
    ]
    settings(root)
    assert "ingress" not in declare(root)["NetworkPolicy", "web"]["spec"]


def test_where_services_may_call_is_a_setting(root: Path) -> None:
    settings(root, "egress-to: nowhere")
    assert ("NetworkPolicy", "slipway.egress") not in declare(root).objects
    settings(root, "egress-to: 10.20.0.0/16, databases")
    (rule,) = declare(root)["NetworkPolicy", "slipway.egress"]["spec"]["egress"]
    assert rule["to"] == [
        {"ipBlock": {"cidr": "10.20.0.0/16"}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "databases"}}},
    ]


def test_routes_are_attached_to_a_gateway_that_exists(root: Path) -> None:
    settings(root, "parent: infra/public", "host: demo.example")
    found = declare(root)
    assert found["HTTPRoute", "api"]["spec"] == {
        "parentRefs": [{"namespace": "infra", "name": "public"}],
        "hostnames": ["demo.example"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/api"}}],
                "backendRefs": [{"name": "api", "port": 8000}],
            }
        ],
    }
    assert found.kinds("gateway") == set()
    assert found.urls == {"api": "http://demo.example/api", "web": "http://demo.example/"}
    assert "HTTPRoute" not in found.kinds("worker")


RULES = """\
[[routes]]
path = "/api"
methods = ["GET", "POST"]
strip = true
timeout = 30
request-headers = { set = { X-Tier = "gold" }, remove = ["Cookie"] }
response-headers = { remove = ["X-Powered-By"] }
[[routes]]
path = "/old"
redirect = { host = "www.example", path = "/new", status = 301 }
"""


def test_each_rule_of_a_route_is_one_of_the_gateway_apis(root: Path) -> None:
    settings(root, "parent: infra/public", "host: demo.example")
    with_rules(root)
    get, post, old = declare(root)["HTTPRoute", "api"]["spec"]["rules"]
    path = {"type": "PathPrefix", "value": "/api"}
    assert get == {
        "matches": [{"path": path, "method": "GET"}],
        "filters": [
            {
                "type": "RequestHeaderModifier",
                "requestHeaderModifier": {
                    "set": [
                        {"name": "X-Tier", "value": "gold"},
                        {"name": "X-Forwarded-Prefix", "value": "/api"},
                    ],
                    "remove": ["Cookie"],
                },
            },
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["X-Powered-By"]}},
            {
                "type": "URLRewrite",
                "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
            },
        ],
        "timeouts": {"request": "30s"},
        "backendRefs": [{"name": "api", "port": 8000}],
    }
    assert post == {**get, "matches": [{"path": path, "method": "POST"}]}
    assert old == {
        "matches": [{"path": {"type": "PathPrefix", "value": "/old"}}],
        "filters": [
            {
                "type": "RequestRedirect",
                "requestRedirect": {
                    "hostname": "www.example",
                    "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"},
                    "statusCode": 301,
                },
            }
        ],
    }


def test_an_ingress_refuses_what_it_has_no_word_for(root: Path) -> None:
    settings(root, "ingress: nginx", "host: demo.example")
    with_rules(root)
    with pytest.raises(ConfigError, match=r"services/api/service.toml:\d+: `methods` cannot be had with the Ingress"):
        declare(root)


@pytest.mark.parametrize(
    "rule",
    [
        'limit = { requests = 1, per = "second" }',
        'allow = ["10.0.0.0/8"]',
        'deny = ["10.0.0.1"]',
        'cors = { origins = ["*"] }',
        "retries = 0",
        "compression = true",
        "websockets = false",
        "cache = { seconds = 1 }",
        'body = "1m"',
        "timeouts.idle = 3",
    ],
)
@pytest.mark.parametrize("engine", ["parent: infra/public", "gateway: nginx", "ingress: nginx"])
def test_no_rule_is_left_out_that_routes_on_a_cluster_cannot_have(root: Path, engine: str, rule: str) -> None:
    settings(root, engine, "host: demo.example")
    key, kind = rule.split(maxsplit=1)[0].split(".", maxsplit=1)[0], "Ingress" if "ingress" in engine else "Gateway"
    change(root, "api", 'route = "/api"\n', "")
    change(root, "api", "", f'[[routes]]\npath = "/api"\n{rule}\n')
    with pytest.raises(
        ConfigError, match=rf"services/api/service.toml:\d+: `{key}` cannot be had with the {kind}"
    ) as caught:
        declare(root)
    assert "Docker engine" in caught.value.remedy


def test_what_changes_nothing_there_is_no_reason_to_refuse(root: Path) -> None:
    settings(root, "parent: infra/public", "host: demo.example")
    change(root, "api", 'route = "/api"\n', "")
    rules = 'limit = "off"\ndeny = []\ncompression = false\nwebsockets = true\ncache = "off"\n'
    change(root, "api", "", f'[[routes]]\npath = "/api"\n{rules}')
    assert len(declare(root)["HTTPRoute", "api"]["spec"]["rules"]) == 1


def test_a_service_that_speaks_http_2_says_so_and_no_ingress_can(root: Path) -> None:
    settings(root, "parent: infra/public", "host: demo.example")
    assert not declare(root)["Service", "api"]["spec"]["ports"][0].get("appProtocol")
    change(root, "api", 'health = "/health"\n', 'protocol = "h2c"\n')
    assert declare(root)["Service", "api"]["spec"]["ports"][0]["appProtocol"] == "kubernetes.io/h2c"
    settings(root, "ingress: nginx", "host: demo.example")
    with pytest.raises(ConfigError, match=r"services/api/service.toml:\d+: `protocol` cannot be had with the Ingress"):
        declare(root)


@pytest.mark.parametrize("rule", ['limit = { requests = 1, per = "second" }', 'deny = ["10.0.0.1"]', "retries = 0"])
@pytest.mark.parametrize("engine", ["parent: infra/public", "ingress: nginx"])
@pytest.mark.parametrize("file", ["workspace.toml", "services/api/service.toml"])
def test_nor_is_a_rule_for_all_routes(root: Path, file: str, engine: str, rule: str) -> None:
    settings(root, engine, "host: demo.example")
    text = (root / file).read_text()
    (root / file).write_text(
        text.replace("[gateway]\n", f"[gateway]\n{rule}\n") if "[gateway]" in text else f"{text}\n[gateway]\n{rule}\n"
    )
    with pytest.raises(ConfigError, match=rf"{file}:\d+: `{rule.split(maxsplit=1)[0]}` cannot be had with the "):
        declare(root)


def with_rules(root: Path, rules: str = RULES) -> None:
    change(root, "api", 'route = "/api"\n', "")
    change(root, "api", "", rules)


def test_a_gateway_of_its_own_stands_in_a_namespace_beside_the_stacks(root: Path) -> None:
    settings(root, "gateway: nginx")
    found = declare(root)
    gateway = found["Gateway", "gateway"]
    assert gateway["metadata"]["namespace"] == "demo-dev-gateway"
    assert "pod-security.kubernetes.io/enforce" not in found["Namespace", "demo-dev-gateway"]["metadata"]["labels"]
    (listener,) = gateway["spec"]["listeners"]
    assert (listener["protocol"], listener["port"]) == ("HTTP", 80)
    chosen = listener["allowedRoutes"]["namespaces"]["selector"]["matchLabels"]
    assert chosen == {"kubernetes.io/metadata.name": "demo-dev"}
    (parent,) = found["HTTPRoute", "web"]["spec"]["parentRefs"]
    assert parent == {"namespace": "demo-dev-gateway", "name": "gateway", "sectionName": "http"}
    assert "hostnames" not in found["HTTPRoute", "web"]["spec"]
    assert found.urls == {}


def test_with_tls_routes_have_it_and_whoever_comes_without_is_sent_to_it(root: Path) -> None:
    settings(root, "gateway: nginx", "host: demo.example", "tls: demo-tls")
    found = declare(root)
    plain, secure = found["Gateway", "gateway"]["spec"]["listeners"]
    assert (plain["name"], secure["name"], secure["port"]) == ("http", "https", 443)
    assert secure["tls"]["certificateRefs"] == [{"kind": "Secret", "name": "demo-tls"}]
    assert found["HTTPRoute", "api"]["spec"]["parentRefs"][0]["sectionName"] == "https"
    redirect = found["HTTPRoute", "slipway.redirect"]["spec"]
    assert redirect["parentRefs"][0]["sectionName"] == "http"
    assert redirect["rules"][0]["filters"][0]["requestRedirect"]["scheme"] == "https"
    assert found.urls["api"] == "https://demo.example/api"


def test_an_ingress_is_there_for_clusters_without_gateways(root: Path) -> None:
    settings(root, "ingress: nginx", "host: demo.example", "tls: demo-tls")
    found = declare(root)
    spec = found["Ingress", "api"]["spec"]
    assert spec["ingressClassName"] == "nginx"
    (rule,) = spec["rules"]
    assert rule["host"] == "demo.example"
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/api", "Prefix")
    assert path["backend"]["service"] == {"name": "api", "port": {"name": "http"}}
    assert spec["tls"] == [{"hosts": ["demo.example"], "secretName": "demo-tls"}]
    assert not any(kind == "HTTPRoute" for kind, _ in found.objects)


HOSTED = """\
[[routes]]
path = "/api"
[[routes]]
path = "/"
host = "api.example"
[[routes]]
path = "/"
host = "*.tenants.example"
"""


def test_routes_of_other_hosts_are_attached_by_their_names(root: Path) -> None:
    settings(root, "gateway: nginx", "host: demo.example", "tls: demo-tls")
    with_rules(root, HOSTED)
    found = declare(root)
    hosts = {
        name: (route["spec"]["hostnames"], len(route["spec"]["rules"]))
        for (kind, name), route in found.objects.items()
        if kind == "HTTPRoute" and name.startswith("api")
    }
    assert hosts == {
        "api": (["demo.example"], 1),
        "api.at.api.example": (["api.example"], 1),
        "api.below.tenants.example": (["*.tenants.example"], 1),
    }
    assert all("hostname" not in listener for listener in found["Gateway", "gateway"]["spec"]["listeners"])


def test_browsers_are_told_to_come_by_https_where_the_stack_has_it(root: Path) -> None:
    file = root / "workspace.toml"
    file.write_text(f"{file.read_text()}[gateway]\nhsts = 600\n")
    settings(root, "gateway: nginx", "host: demo.example", "tls: demo-tls")
    with_rules(root)
    rules = declare(root)["HTTPRoute", "api"]["spec"]["rules"]
    told = {"name": "Strict-Transport-Security", "value": "max-age=600"}
    assert [
        told in each["responseHeaderModifier"]["set"]
        for rule in rules
        for each in rule["filters"][-3:]
        if "responseHeaderModifier" in each
    ] == [True] * len(rules)
    settings(root, "gateway: nginx", "host: demo.example")
    assert "max-age" not in str(declare(root)["HTTPRoute", "api"])
    settings(root, "ingress: nginx", "host: demo.example", "tls: demo-tls")
    with pytest.raises(ConfigError, match=r"workspace\.toml:\d+: `hsts` cannot be had with the Ingress"):
        declare(root)


def test_an_ingress_has_a_rule_for_each_host(root: Path) -> None:
    settings(root, "ingress: nginx", "host: demo.example", "tls: demo-tls")
    with_rules(root, HOSTED.rpartition("[[routes]]")[0])
    spec = declare(root)["Ingress", "api"]["spec"]
    assert [rule["host"] for rule in spec["rules"]] == ["api.example", "demo.example"]
    assert spec["tls"][0]["hosts"] == ["api.example", "demo.example"]


def test_the_cluster_takes_images_of_this_stack_only(root: Path) -> None:
    found = declare(root)
    binding = found["ValidatingAdmissionPolicyBinding", "slipway.demo-dev.images"]["spec"]
    assert binding["matchResources"]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "demo-dev"}
    assert binding["validationActions"] == ["Deny", "Audit"]
    policy = found["ValidatingAdmissionPolicy", "slipway.demo-dev.images"]["spec"]
    assert policy["failurePolicy"] == "Fail"
    assert '"registry.example/demo/"' in str(policy["validations"])
    settings(root, "admission: false")
    assert not any(kind.startswith("Validating") for kind, _ in declare(root).objects)


def login(root: Path, *hosts: str, **entry: str) -> None:
    entry = entry or {"auth": base64.b64encode(b"me:hunter2").decode()}
    (root / "config.json").write_text(json.dumps({"auths": dict.fromkeys(hosts, entry)}))


def test_images_are_pulled_with_this_machines_login_and_no_other(root: Path) -> None:
    login(root, "registry.example", "other.example")
    found = declare(root)
    secret = found["Secret", "slipway.pull"]
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    assert login_of({"data": value_of(secret["data"])}) == {"registry.example": "me:hunter2"}
    assert "immutable" not in secret
    assert base64.b64encode(b"me:hunter2").decode() not in json.dumps(without_secrets(secret))
    for name in ("api", "web", "worker"):
        assert found.pod(name)["imagePullSecrets"] == [{"name": "slipway.pull"}]


def test_a_new_token_changes_no_pod(root: Path) -> None:
    login(root, "registry.example")
    before = declare(root)
    login(root, "registry.example", auth=base64.b64encode(b"me:other").decode())
    after = declare(root)
    assert before["Secret", "slipway.pull"] != after["Secret", "slipway.pull"]
    assert all(before["Deployment", name] == after["Deployment", name] for name in ("api", "web", "worker"))


@pytest.mark.parametrize("registry", ["registry.example", "127.0.0.1:5000"])
def test_without_a_login_or_on_this_machine_there_is_no_pull_secret(root: Path, registry: str) -> None:
    (root / "workspace.toml").write_text(f'name = "demo"\nregistry = "{registry}"\n')
    login(root, "127.0.0.1:5000", "other.example")
    found = declare(root)
    assert ("Secret", "slipway.pull") not in found.objects
    assert "imagePullSecrets" not in found.pod("api")


def test_docker_hubs_login_has_the_name_that_kubernetes_knows(root: Path) -> None:
    (root / "workspace.toml").write_text('name = "demo"\nregistry = "docker.io/acme"\n')
    login(root, "https://index.docker.io/v1/")
    found = declare(root)
    secret = value_of(found["Secret", "slipway.pull"]["data"])
    assert list(login_of({"data": secret})) == ["https://index.docker.io/v1/"]


def test_the_cluster_is_the_one_that_the_settings_name(root: Path) -> None:
    (root / "kube.yaml").write_text("apiVersion: v1\nkind: Config\n")
    settings(root, "kubeconfig: kube.yaml", "context: prod", "namespace: shop")
    found = declare(root)
    provider = found["kubernetes", "dev"]
    assert (provider["kubeconfig"], provider["context"]) == (str(root / "kube.yaml"), "prod")
    assert found["Deployment", "api"]["metadata"]["namespace"] == "shop"
    settings(root, "kubeconfig: gone.yaml")
    with pytest.raises(ConfigError, match=r"slipway:kubeconfig is .*gone\.yaml, which is not a file"):
        declare(root)


def test_what_an_interrupted_deploy_has_made_is_taken_over_by_the_next_one_alone(root: Path) -> None:
    assert "upsertExistingObjects" not in declare(root)["kubernetes", "dev"]
    assert declare(root, adopts_existing=True)["kubernetes", "dev"]["upsertExistingObjects"] == "true"


def value_of(wrapped: dict[str, Any]) -> dict[str, Any]:
    """Return a secret input's value, which has to be wrapped as one."""
    assert wrapped["4dabf18193072939515e22adb298388d"] == "1b47061264138c4ac30d75fd1eb44270"
    found = wrapped["value"]
    assert isinstance(found, dict)
    return found


def without_secrets(value: Any) -> Any:
    """Return what the state holds in plain text."""
    if isinstance(value, dict):
        wrapped = "4dabf18193072939515e22adb298388d" in value
        return "[secret]" if wrapped else {key: without_secrets(inner) for key, inner in value.items()}
    return [without_secrets(each) for each in value] if isinstance(value, list) else value


def test_the_docker_target_needs_no_kubernetes(root: Path) -> None:
    change(root, "worker", "", '[job]\nschedule = "@daily"')
    (root / "infra" / "Pulumi.dev.yaml").write_text(
        "config:\n  slipway:images: inline\n  slipway:protected: false\n  slipway:target: docker\n"
    )
    found: Declared = declare(root)
    parts = {("Network", "dev"), ("Container", "api"), ("Container", "web"), ("Job", "worker"), ("Gateway", "dev")}
    assert found.objects.keys() == parts == found.flat == found.waited
    assert found["Job", "worker"]["schedule"] == "@daily"
    assert {found.tree[which] for which in parts} == {("DockerServices", "dev")}
    assert found["Gateway", "dev"]["image"].startswith("registry.example/demo/release/gateway@sha256:")
    assert sorted(name for kind, name in found.objects if kind == "Container") == ["api", "web"]
    assert found["Container", "web"]["env"]["API_URL"] == "http://gateway:8080/api"


def backed(root: Path) -> None:
    """Give the demo's API a release command, and a database that it needs: the worker, which comes after it."""
    change(root, "worker", 'kind = "worker"', 'kind = "worker"\nport = 5432\nurl = "postgres://{host}:{port}/app"')
    change(root, "api", 'kind = "python-api"', f'kind = "python-api"\n{MIGRATED}')


def test_a_release_command_is_a_job_like_the_pods_that_serves_nothing(root: Path) -> None:
    backed(root)
    found = declare(root, {"api": {"TOKEN": "hunter2"}})
    command = found["ReleaseCommand", "api"]
    assert command["image"].endswith(DIGEST) and command["release"] == ["python", "-m", "app.migrate"]
    assert command["rollsBack"] is False
    assert "hunter2" not in json.dumps(command)
    job = command["job"]
    assert (job["kind"], job["spec"]["backoffLimit"]) == ("Job", 0)
    assert job["metadata"]["labels"]["slipway.release"] == "true"
    pod, serving = job["spec"]["template"]["spec"], found.pod("api")
    [container], [serving_container] = pod["containers"], serving["containers"]
    assert container["command"] == ["python", "-m", "app.migrate"]
    for key in ("image", "envFrom", "resources", "securityContext", "volumeMounts", "name"):
        assert container[key] == serving_container[key], key
    for key in ("ports", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        assert key not in container, key
    assert pod["securityContext"] == serving["securityContext"] and pod["volumes"] == serving["volumes"]
    assert pod["restartPolicy"] == "Never"
    assert pod["readinessGates"] == [{"conditionType": "slipway.dev/serves"}]
    assert ("ReleaseCommand", "web") not in found.objects


def test_the_deployment_waits_for_its_release_command_and_both_for_what_they_stand_on(root: Path) -> None:
    backed(root)
    found = declare(root)
    database = ("Deployment", "worker")
    assert ("ReleaseCommand", "api") in found.after["Deployment", "api"]
    assert database in found.after["Deployment", "api"] and database in found.after["ReleaseCommand", "api"]
    assert database not in found.after["Deployment", "web"]


def test_a_rollback_tells_the_release_command_so(root: Path) -> None:
    backed(root)
    assert declare(root, rolls_back=True)["ReleaseCommand", "api"]["rollsBack"] is True


def test_a_route_that_says_who_may_call_is_refused_with_an_httproute_and_with_an_ingress(root: Path) -> None:
    settings(root, "gateway: cilium", "host: demo.example")
    change(root, "api", 'route = "/api"', '[[routes]]\npath = "/api"\nauth = {keys = true}')
    path = root / "services" / "api" / "service.toml"
    text = path.read_text(encoding="utf-8")
    table = '[[routes]]\npath = "/api"\nauth = {keys = true}'
    path.write_text(f"{text.replace(table, '')}\n{table}\n", encoding="utf-8")
    line = path.read_text(encoding="utf-8").splitlines().index("auth = {keys = true}") + 1
    with pytest.raises(ConfigError, match=f"service.toml:{line}: `auth` cannot be had with the Gateway"):
        declare(root)
    settings(root, "ingress: nginx", "host: demo.example")
    with pytest.raises(ConfigError, match=f"service.toml:{line}: `auth` cannot be had with the Ingress"):
        declare(root)
