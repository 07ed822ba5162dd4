"""A stack whose Gateway Envoy Gateway serves declares the policies of its routes, and refuses what it cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.targets.kubernetes.conftest import change, settings
from tests.unit.targets.kubernetes.declared import declare

from slipway._internal.model.errors import ConfigError

KEYS = '{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}'
JWT = 'issuer = "https://idp.example", audiences = ["orders"]'
GATEWAY = ("gateway: eg", "gateway-policies: envoy-gateway", "host: demo.example")


def with_routes(root: Path, *tables: str) -> None:
    """Give the API these routes alone."""
    change(root, "api", 'route = "/api"\n', "")
    change(root, "api", "", "".join(f"[[routes]]\n{table}\n" for table in tables))
    (root / "services" / "api" / "keys.json").write_text(KEYS, encoding="utf-8")


def test_each_route_has_its_policies_before_it_serves(root: Path) -> None:
    settings(root, *GATEWAY)
    with_routes(
        root,
        f'path = "/api"\nmethods = ["GET", "POST"]\nauth.jwt = {{ {JWT}, jwks = "keys.json" }}',
        'path = "/old"\nredirect = { path = "/new" }\ndeny = ["10.0.0.7"]',
        'path = "/open"',
    )
    found = declare(root)
    routes = found["HTTPRoute", "api"]["spec"]["rules"]
    names = [rule["name"] for rule in routes]
    assert len({*names}) == len(routes) == 4
    of_kind = {
        kind: {
            reference["sectionName"]: each["spec"]
            for (its, name), each in found.objects.items()
            if its == kind and name.startswith("api.")
            for reference in each["spec"]["targetRefs"]
        }
        for kind in ("SecurityPolicy", "BackendTrafficPolicy")
    }
    assert [*of_kind["SecurityPolicy"]] == names[:3]
    assert {*of_kind["BackendTrafficPolicy"]} == {*names[:2], names[3]}
    assert of_kind["SecurityPolicy"][names[0]]["jwt"]["providers"][0]["localJWKS"]["inline"].startswith(
        '{"keys":[{"crv"'
    )
    assert routes[0]["filters"][0]["requestHeaderModifier"]["remove"] == ["Authorization"]
    made_before = found.after["HTTPRoute", "api"]
    policies = {which for which in found.objects if which[0] in of_kind and which[1].startswith("api.")}
    assert policies and policies <= made_before
    listeners = found["ClientTrafficPolicy", "gateway"]
    assert listeners["metadata"]["namespace"] == "demo-dev-gateway"
    assert listeners["spec"]["targetRefs"][0]["name"] == "gateway"


def test_rules_of_the_service_and_the_workspace_are_in_force(root: Path) -> None:
    settings(root, *GATEWAY)
    file = root / "workspace.toml"
    file.write_text(f'{file.read_text()}\n[gateway]\nbody = "1m"\ndeny = ["10.0.0.7"]\n')
    found = declare(root)
    [body] = [
        each["spec"] for (kind, name), each in found.objects.items() if kind == "BackendTrafficPolicy" and "api" in name
    ]
    assert body["requestBuffer"] == {"limit": "1Mi"}
    assert any(kind == "SecurityPolicy" and name.startswith("api.") for kind, name in found.objects)


def test_without_the_setting_there_are_no_policies_and_no_names(root: Path) -> None:
    settings(root, "gateway: eg", "host: demo.example")
    found = declare(root)
    assert not any("gateway.envoyproxy.io" in str(each.get("apiVersion")) for each in found.objects.values())
    assert "name" not in found["HTTPRoute", "api"]["spec"]["rules"][0]


@pytest.mark.parametrize(("lines", "status"), [(GATEWAY, 308), (("gateway: nginx",), 301)])
def test_whoever_comes_without_tls_is_sent_to_it(root: Path, lines: tuple[str, ...], status: int) -> None:
    settings(root, *lines, "tls: cert")
    [rule] = declare(root)["HTTPRoute", "slipway.redirect"]["spec"]["rules"]
    assert rule["filters"][0]["requestRedirect"]["statusCode"] == status


def test_a_service_that_is_asked_about_callers_takes_the_gateways_questions(root: Path) -> None:
    settings(root, *GATEWAY, "ingress-from: gateways")
    change(root, "web", 'route = "/"\n', "")
    peers = "ingress"
    before = declare(root).objects.get(("NetworkPolicy", "web"), {}).get("spec", {}).get(peers)
    assert before is None
    with_routes(root, 'path = "/api"\nauth.external = "http://web:3000/check"')
    [rule] = declare(root)["NetworkPolicy", "web"]["spec"][peers]
    assert "gateways" in str(rule)


@pytest.mark.parametrize(
    ("rule", "key", "why"),
    [
        ("auth.keys = true", "auth", "SHA-256"),
        ("auth.basic = true", "auth", "SHA-256"),
        (f'auth.jwt = {{ {JWT}, url = "https://idp.example/k", ca = "ca.pem" }}', "ca", "public authorities"),
        (f'auth.jwt = {{ {JWT}, jwks = "keys.json", headers = {{ "a.b" = "X-A" }} }}', "headers", "within a claim"),
        ('auth.external = "http://elsewhere.example/check"', "external", "services of this stack only"),
        ('auth.external = "http://web:1/check"', "external", "services of this stack only"),
        ('limit = { requests = 9, per = "minute", burst = 3 }', "burst", "hold as many requests"),
        ('methods = ["GET", "PUT"]\nlimit = { requests = 9, per = "minute" }', "limit", "each for itself"),
        ('redirect = { path = "/b" }\nlimit = { requests = 9, per = "minute" }', "limit", "sent elsewhere"),
        ('body = "17m"', "body", "holds each request in memory"),
        ('retries = { on = ["503"] }', "retries", "done twice"),
        ('cors = { origins = ["https://*.example.org"] }', "origins", "any number of names"),
    ],
)
def test_what_would_mean_something_else_is_refused_by_its_line(root: Path, rule: str, key: str, why: str) -> None:
    settings(root, *GATEWAY)
    (root / "services" / "api" / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n", encoding="utf-8")
    with_routes(root, 'path = "/api"', f'path = "/a"\n{rule}')
    lines = (root / "services" / "api" / "service.toml").read_text().splitlines()
    number = lines.index(rule.splitlines()[-1]) + 1
    with pytest.raises(
        ConfigError, match=f"service.toml:{number}: `{key}` cannot be had with Envoy Gateway's"
    ) as caught:
        declare(root)
    assert why in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("file", ["workspace.toml", "services/api/service.toml"])
def test_a_rule_for_all_routes_is_refused_where_it_stands(root: Path, file: str) -> None:
    settings(root, *GATEWAY)
    path = root / file
    path.write_text(f'{path.read_text()}\n[gateway]\nbody = "1g"\n')
    number = path.read_text().splitlines().index('body = "1g"') + 1
    with pytest.raises(ConfigError, match=f"{file}:{number}: `body` cannot be had with Envoy Gateway's policies"):
        declare(root)
