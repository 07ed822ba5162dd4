"""Envoy Gateway's policies say what the rules of a route mean; a real one reads them in the tests on Kubernetes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from slipway._internal.commands import envoy_gateway
from slipway._internal.model.auth import AuthSettings, ExternalSettings, JwtSettings
from slipway._internal.model.request_limits import DEFAULT_LIMITS, RequestLimits
from slipway._internal.model.route_rules import CorsSettings, LimitSettings, RetrySettings
from slipway._internal.model.routes import HeaderSettings, RouteSettings

TARGETS = [envoy_gateway.target("api", "one")]


def backend(limits: RequestLimits = DEFAULT_LIMITS, **rules: Any) -> dict[str, Any]:
    return envoy_gateway.backend_traffic_policy(RouteSettings("/api", **rules), limits, TARGETS)


def security(**rules: Any) -> dict[str, Any]:
    return envoy_gateway.security_policy(RouteSettings("/api", **rules), TARGETS)


def jwt(**more: Any) -> AuthSettings:
    return AuthSettings(jwt=JwtSettings("https://idp.example", ("orders",), jwks='{"keys":[]}', **more))


def test_a_route_without_rules_has_the_times_and_repetitions_of_a_docker_engine() -> None:
    assert backend() == {
        "targetRefs": [
            {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "api", "sectionName": "one"}
        ],
        "timeout": {"tcp": {"connectTimeout": "3s"}, "http": {"requestTimeout": "0s", "streamIdleTimeout": "5m"}},
        "retry": {
            "numRetries": 4,
            "retryOn": {"triggers": ["connect-failure", "refused-stream", "reset-before-request"]},
            "perRetry": {"backOff": {"baseInterval": "10ms", "maxInterval": "250ms"}},
        },
    }
    assert security() == {}


def test_what_a_service_may_have_got_is_repeated_only_where_all_methods_may_be() -> None:
    reasons = RetrySettings(times=2, on=("connect", "reset", "503"))
    assert "reset" not in backend(retries=reasons)["retry"]["retryOn"]["triggers"]
    for more in ({"methods": ("GET", "PUT")}, {"retries": RetrySettings(2, reasons.on, any_method=True)}):
        found = backend(**{"retries": reasons, **more})["retry"]["retryOn"]
        assert found["triggers"][-2:] == ["reset", "retriable-status-codes"]
        assert found["httpStatusCodes"] == [503]
    assert "reset" not in backend(retries=reasons, methods=("GET", "POST"))["retry"]["retryOn"]["triggers"]
    assert backend(retries=0)["retry"] == {"numRetries": 0}
    assert backend(retries=RetrySettings(on=("reset",)))["retry"] == {"numRetries": 0}


@pytest.mark.parametrize(("seconds", "written"), [(0, "0s"), (59, "59s"), (3661, "1h1m1s"), (604_800, "168h")])
def test_times_are_written_as_the_gateway_api_reads_them(seconds: int, written: str) -> None:
    assert envoy_gateway.duration(seconds) == written
    assert re.fullmatch(r"([0-9]{1,5}(h|m|s|ms)){1,4}", written)


def test_a_limit_counts_each_address_all_together_or_each_claim() -> None:
    def rules(by: str) -> list[dict[str, Any]]:
        found = backend(limit=LimitSettings(9, "minute", by))["rateLimit"]["local"]["rules"]
        assert all(rule["limit"] == {"requests": 9, "unit": "Minute"} for rule in found)
        return list(found)

    assert [rule["clientSelectors"] for rule in rules("address")] == [
        [{"sourceCIDR": {"type": "Distinct", "value": network}}] for network in ("0.0.0.0/0", "::/0")
    ]
    assert [rule.get("clientSelectors") for rule in rules("route")] == [None]
    [by_claim] = rules("claim:sub")
    assert by_claim["clientSelectors"] == [{"headers": [{"type": "Distinct", "name": "X-Slipway-Caller"}]}]


def test_bodies_are_held_to_their_limit_and_then_no_protocol_changes() -> None:
    limited = RequestLimits(body="16m", connect=1, idle=90)
    assert backend(limited)["requestBuffer"] == {"limit": "16Mi"}
    assert "httpUpgrade" not in backend(limited, websockets=False)
    assert backend(websockets=False)["httpUpgrade"] == [{"type": "slipway-none"}]
    assert [each["type"] for each in backend(compression=True)["compressor"]] == ["Brotli", "Gzip"]


def test_who_is_denied_comes_before_who_is_allowed() -> None:
    found = security(allow=("10.0.0.0/8", "::1"), deny=("10.0.0.7",))["authorization"]
    assert found["defaultAction"] == "Deny"
    assert [(rule["action"], rule["principal"]["clientCIDRs"]) for rule in found["rules"]] == [
        ("Deny", ["10.0.0.7/32"]),
        ("Allow", ["10.0.0.0/8", "::1/128"]),
    ]
    assert security(deny=("10.0.0.7",))["authorization"]["defaultAction"] == "Allow"


def test_a_token_needs_an_end_and_its_claims_whatever_address_it_comes_from() -> None:
    found = security(auth=jwt(claims={"https://x/roles": ("a", 'b"'), "scope": "w"}), allow=("10.0.0.0/8",))
    [rule] = found["authorization"]["rules"]
    assert rule["principal"] == {"clientCIDRs": ["10.0.0.0/8"]}
    payload = "metadata.filter_metadata['envoy.filters.http.jwt_authn']['issuer']"
    asked = [f"'exp' in {payload}"]
    for claim, value in (("https://x/roles", '"a"'), ("https://x/roles", r'"b\""'), ("scope", '"w"')):
        asked.append(f'({payload}["{claim}"] == {value} || {value} in {payload}["{claim}"])')
    assert rule["cel"] == " && ".join(asked)
    assert found["authorization"]["defaultAction"] == "Deny"


def test_a_service_gets_claims_and_no_token_unless_it_is_for_it() -> None:
    limit = LimitSettings(1, "second", "claim:sub")
    [provider] = security(auth=jwt(headers={"sub": "X-User"}), limit=limit)["jwt"]["providers"]
    assert provider["claimToHeaders"] == [
        {"claim": "sub", "header": "X-User"},
        {"claim": "sub", "header": "X-Slipway-Caller"},
    ]
    assert provider["extractFrom"] == {"headers": [{"name": "Authorization", "valuePrefix": "Bearer "}]}

    def removed(auth: AuthSettings, **more: Any) -> tuple[str, ...]:
        route = RouteSettings("/api", auth=auth, **more)
        return envoy_gateway.with_checked_headers(route).request_headers.remove

    assert removed(jwt(), limit=limit) == ("Authorization", "X-Slipway-Caller")
    assert removed(jwt(forward=True)) == ()
    assert removed(jwt(), request_headers=HeaderSettings(set={"authorization": "mine"})) == ()


def test_an_issuer_may_publish_its_keys() -> None:
    auth = AuthSettings(jwt=JwtSettings("https://idp.example", ("orders",), url="https://idp.example/keys"))
    [provider] = security(auth=auth)["jwt"]["providers"]
    assert provider["remoteJWKS"] == {"uri": "https://idp.example/keys"}
    assert "localJWKS" not in provider


def test_another_server_is_asked_and_its_silence_lets_nobody_in() -> None:
    asked = ExternalSettings("http://permits:8000/check/", timeout=7, send=("X-Tenant",), receive=("X-User",))
    assert security(auth=AuthSettings(external=asked))["extAuth"] == {
        "http": {
            "backendRefs": [{"group": "", "kind": "Service", "name": "permits", "port": 8000}],
            "path": "/check",
            "headersToBackend": ["x-user"],
        },
        "headersToExtAuth": ["cookie", "x-tenant"],
        "timeout": "7s",
        "failOpen": False,
        "statusOnError": 503,
    }


def test_a_browsers_question_finds_a_route_that_takes_other_methods() -> None:
    cors = CorsSettings(("https://app.example",))
    rules = [
        {"matches": [{"path": {"type": "PathPrefix", "value": "/api"}, "method": name}]} for name in ("GET", "PUT")
    ]
    found = envoy_gateway.named_rules(RouteSettings("/api", methods=("GET", "PUT"), cors=cors), rules)
    assert len({rule["name"] for rule in found}) == 3
    [asked] = found[-1]["matches"]
    assert asked["method"] == "OPTIONS"
    assert asked["headers"][1]["value"] == "GET|PUT"
    assert len(envoy_gateway.named_rules(RouteSettings("/api", cors=cors), rules[:1])) == 1


def test_rules_have_names_that_stay_and_that_kubernetes_takes() -> None:
    one = RouteSettings("/api/v1.2_x", methods=("GET",))
    assert envoy_gateway.rule_name(one) == envoy_gateway.rule_name(
        RouteSettings("/api/v1.2_x", methods=("GET",), deny=())
    )
    others = [RouteSettings("/api/v1.2_x"), RouteSettings("/api", methods=("GET",)), RouteSettings("/"), one]
    names = {envoy_gateway.rule_name(route) for route in others}
    assert len(names) == 4
    for name in names:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", name)


def test_listeners_take_no_callers_word_for_what_services_believe() -> None:
    found = envoy_gateway.client_traffic_policy("gateway", {"x-user"}, tls=True)
    early = found["headers"]["earlyRequestHeaders"]
    patterns = [each["value"] for each in early["removeOnMatch"] if each["type"] == "RegularExpression"]
    assert all(len(pattern) <= 1024 for pattern in patterns)

    def is_removed(name: str) -> bool:
        return any(re.fullmatch(pattern, name) for pattern in patterns)

    for name in ("x-user", "x_user", "x-consumer", "x_consumer", "x_real-ip", "x-real_ip", "x_real_ip"):
        assert is_removed(name), name
    for name in ("x-real-ip", "x-forwarded-for", "content-type", "x-users"):
        assert not is_removed(name), name
    assert {header["name"] for header in early["set"]} == {"X-Real-IP", "X-Forwarded-Host"}
    assert found["path"]["escapedSlashesAction"] == "RejectRequest"
    assert found["tls"]["minVersion"] == "1.2"
    assert "tls" not in envoy_gateway.client_traffic_policy("gateway", (), tls=False)
