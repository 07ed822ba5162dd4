"""A canary on Kubernetes: a Deployment and a Service of its own, and weights in the routes of the Gateway API."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.targets.kubernetes.conftest import change, settings
from tests.unit.targets.kubernetes.declared import Declared, declare

from slipway._internal.model.canary import Canary

CANARY = Canary("api", "registry.example/demo/api@sha256:" + "c" * 64, 10)


@pytest.fixture
def demo(root: Path) -> Path:
    settings(root, "gateway: envoy")
    change(root, "api", "", "[scale]\nmin = 2\nmax = 5\n")
    return root


def declared(demo: Path, service: str = "api") -> Declared:
    canary = Canary(service, CANARY.image, CANARY.percent)
    return declare(demo, {service: {"TOKEN": "hunter2"}}, canaries=(canary,), canary_change="weights")


def test_it_has_a_deployment_of_one_pod_with_the_services_pod_but_for_the_image(demo: Path) -> None:
    found = declared(demo)
    canary, stable = found.container("api-canary"), found.container("api")
    assert canary.pop("image") == CANARY.image != stable.pop("image")
    assert canary["resources"] == stable["resources"] and canary["readinessProbe"] == stable["readinessProbe"]
    assert found["Deployment", "api-canary"]["spec"]["replicas"] == 1
    assert "replicas" not in found["Deployment", "api"]["spec"]
    assert "HorizontalPodAutoscaler" not in found.kinds("api-canary") and "HTTPRoute" not in found.kinds("api-canary")


def test_neither_service_selects_the_others_pods(demo: Path) -> None:
    found = declared(demo)
    for name in ("api", "api-canary"):
        selector = found["Service", name]["spec"]["selector"]
        assert selector.items() <= found["Deployment", name]["spec"]["template"]["metadata"]["labels"].items()
        assert found["Deployment", name]["spec"]["selector"]["matchLabels"] == selector
    assert found["Service", "api"]["spec"]["selector"] != found["Service", "api-canary"]["spec"]["selector"]


def test_the_routes_have_both_by_weight_after_its_pods_are_ready(demo: Path) -> None:
    found = declared(demo)
    route = found["HTTPRoute", "api"]
    port = found["Service", "api"]["spec"]["ports"][0]["port"]
    for rule in route["spec"]["rules"]:
        assert rule["backendRefs"] == [
            {"name": "api", "port": port, "weight": 90},
            {"name": "api-canary", "port": port, "weight": 10},
        ]
    assert ("Deployment", "api-canary") in found.after["HTTPRoute", "api"]
    assert all(
        "weight" not in ref for rule in found["HTTPRoute", "web"]["spec"]["rules"] for ref in rule["backendRefs"]
    )


def test_it_may_be_called_from_outside_and_may_call_what_the_service_calls(demo: Path) -> None:
    found = declared(demo, "web")
    canary, stable = found["NetworkPolicy", "web-canary"]["spec"], found["NetworkPolicy", "web"]["spec"]
    assert canary["egress"] == stable["egress"] and canary["podSelector"] != stable["podSelector"]
    callers = [peer for rule in found["NetworkPolicy", "api"]["spec"]["ingress"] for peer in rule.get("from", ())]
    names = {peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for peer in callers if "podSelector" in peer}
    assert names >= {"web", "web-canary"} and "api-canary" not in names


def test_without_a_canary_a_route_has_one_backend_without_a_weight(demo: Path) -> None:
    found = declare(demo)
    assert not found.kinds("api-canary")
    assert [len(rule["backendRefs"]) for rule in found["HTTPRoute", "api"]["spec"]["rules"]] == [1]
