"""The gateway, without an engine."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.certificates import Authority
from tests.unit.fake_engine import FakeEngine

from slipway._internal.commands.envoy import read_maintenance
from slipway._internal.commands.gateway_options import MaintenanceOptions, TlsOptions
from slipway._internal.model.acme import CERTIFICATE, IssuedCertificate, as_file
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.provider import gateway
from slipway._internal.provider.gateway import GatewayHandler
from slipway._internal.provider.handler import ResourceState
from slipway._internal.provider.values import UNKNOWN, SecretValue
from slipway._internal.rollout import envoy
from slipway._internal.rollout import gateway as gateways
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.certificate_store import FOLDER
from slipway._internal.rollout.gateway import GatewaySpec
from slipway._internal.run import ports

ROUTE = {"service": "api", "route": "/api", "upstream": "demo-dev-api-1:8000"}
INPUTS: dict[str, Any] = {
    "workspace": "demo",
    "stack": "dev",
    "image": f"127.0.0.1:5000/demo/base-envoy@sha256:{'a' * 64}",
    "network": "demo-dev",
    "bind": "127.0.0.1",
    "port": 8080,
    "routes": [ROUTE],
    "drainSeconds": 10,
}


@pytest.fixture
def deployed_state(monkeypatch: pytest.MonkeyPatch) -> ResourceState:
    """A gateway that is in the state, runs and serves its routes."""
    monkeypatch.setattr(gateway, "find_drift", lambda deployed_state: "")
    monkeypatch.setattr(gateway, "pull_image", lambda image, stop: None)
    monkeypatch.setattr(ports, "is_port_taken", lambda bind, port: False)
    monkeypatch.setattr(gateway, "_find_gateway_drift", lambda deployed_state, news: "")
    monkeypatch.setattr(gateway, "refuse_other_image", lambda image, stack: None)
    monkeypatch.setattr(gateway, "_read_config", lambda deployed_state: GatewaySpec.from_inputs(INPUTS).config)
    monkeypatch.setattr(gateway, "inspect_container", lambda _id: {"Mounts": [{"Destination": "/run/secrets"}]})
    return ResourceState("urn", "abc", INPUTS, {})


def test_nothing_changed_changes_nothing(deployed_state: ResourceState) -> None:
    assert list(GatewayHandler().diff(deployed_state, INPUTS).changed) == []


def test_routes_change_in_place(deployed_state: ResourceState) -> None:
    diff = GatewayHandler().diff(deployed_state, {**INPUTS, "routes": [{**ROUTE, "upstream": "demo-dev-api-2:8000"}]})
    assert (list(diff.changed), list(diff.replaces)) == (["routes"], [])


def test_consumers_are_secret_and_change_in_place(deployed_state: ResourceState) -> None:
    consumers = {"shop": {"keys": ["a" * 64], "groups": ["partners"]}}
    news = {**INPUTS, "consumers": consumers}
    assert not GatewayHandler().check({**INPUTS, "consumers": SecretValue(consumers)}).failures
    diff = GatewayHandler().diff(deployed_state, news)
    assert (list(diff.changed), list(diff.replaces)) == (["consumers"], [])
    assert "consumers" not in GatewayHandler().preview_outputs(news)
    assert GatewaySpec.from_inputs(news).options.consumers["shop"].groups == ("partners",)


@pytest.mark.parametrize("consumers", [{"shop": "x"}, {"shop": {"keys": "x"}}, {"shop": {"key": []}}])
def test_consumers_that_are_none_are_refused(consumers: Any) -> None:
    [(_, why)] = GatewayHandler().check({**INPUTS, "consumers": consumers}).failures
    assert "the gateway's consumers cannot be read" in why


def test_options_and_secrets_change_in_place(deployed_state: ResourceState) -> None:
    news = {**INPUTS, "options": {"hosts": ["shop.example.com"]}, "secrets": {"a.key": "private"}}
    assert not GatewayHandler().check(news).failures
    diff = GatewayHandler().diff(deployed_state, news)
    assert (list(diff.changed), list(diff.replaces)) == (["options", "secrets"], [])
    assert "secrets" not in GatewayHandler().preview_outputs(news)
    assert "private" not in repr(GatewaySpec.from_inputs(news))


def test_a_gateway_without_a_folder_for_secrets_is_replaced_when_it_gets_some(
    deployed_state: ResourceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "inspect_container", lambda _id: {"Mounts": [{"Destination": "/etc/slipway"}]})
    assert list(GatewayHandler().diff(deployed_state, INPUTS).replaces) == []
    diff = GatewayHandler().diff(deployed_state, {**INPUTS, "secrets": {"a.key": "private"}})
    assert list(diff.replaces) == ["containerId"]


DOWN = MaintenanceOptions(services=("api",))


def test_a_deploy_keeps_what_is_in_maintenance(
    deployed_state: ResourceState, monkeypatch: pytest.MonkeyPatch, docker: FakeEngine
) -> None:
    live = GatewaySpec.from_inputs(INPUTS).during(DOWN).config
    monkeypatch.setattr(gateway, "_read_config", lambda deployed_state: live)
    handler, written = GatewayHandler(), []
    assert list(handler.diff(deployed_state, INPUTS).changed) == []
    container = docker.add_container("demo-dev-gateway", service="gateway")
    state = replace(deployed_state, id=container.id, outputs={"imageId": "i"})
    monkeypatch.setattr(envoy, "read_live_config", lambda container: live)
    monkeypatch.setattr(envoy, "switch_config", lambda container, config, stop: written.append(config))
    handler.update(state, INPUTS, CancellationToken())
    handler.diff(state, {**INPUTS, "port": 9090})
    monkeypatch.setattr(gateway, "refuse_foreign_objects", lambda *_: None)
    made = SimpleNamespace(id="new")
    monkeypatch.setattr(gateway, "create_gateway", lambda spec, urn, stop: written.append(spec.config) or (made, made))
    handler.create("urn", INPUTS, CancellationToken())
    handler.create("urn", INPUTS, CancellationToken())  # another one, later
    assert [read_maintenance(config) for config in written] == [DOWN, DOWN, None]


ISSUING = {**INPUTS, "options": {"acme": {"port": 8443}, "hosts": ["shop.example.com"]}, "tlsPort": 8443}


def test_a_deploy_keeps_the_certificate_that_was_issued_and_what_an_authority_is_answered(
    deployed_state: ResourceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "t" * 43
    spec = GatewaySpec.from_inputs(ISSUING).serving(TlsOptions("PEM", "acme-1.key", 443), {token: f"{token}.{token}"})
    assert spec.options.tls and spec.options.tls.port == 8443
    monkeypatch.setattr(gateway, "_read_config", lambda deployed_state: spec.config)
    monkeypatch.setattr(gateway, "inspect_container", lambda _id: {"Mounts": [{"Destination": FOLDER}]})
    state = replace(deployed_state, inputs=ISSUING)
    assert list(GatewayHandler().diff(state, ISSUING).changed) == []
    assert GatewaySpec.from_inputs(INPUTS).keeping(spec.config).options.tls is None  # not with other settings
    monkeypatch.setattr(gateway, "inspect_container", lambda _id: {"Mounts": []})
    assert list(GatewayHandler().diff(state, ISSUING).replaces) == ["containerId"]


def test_another_container_serves_the_certificate_that_its_store_has(docker: FakeEngine, authority: Authority) -> None:
    issued = authority.issue("shop.example.com")
    container = docker.add_container("demo-dev-gateway", service="gateway")
    spec = GatewaySpec.from_inputs(ISSUING)
    assert gateways.with_issued(spec, container) == spec
    text = as_file(IssuedCertificate("https://a.example", issued.chain, issued.key))
    container.files[f"{FOLDER}/{CERTIFICATE}"] = (text.encode(), 0o400)
    found = gateways.with_issued(spec, container)
    assert found.options.tls and found.secrets == {found.options.tls.key: issued.key}
    assert gateways.with_issued(GatewaySpec.from_inputs(INPUTS), container).options.tls is None
    [mount] = [each for each in gateways.gateway_options(spec, "urn")["mounts"] if each["Target"] == FOLDER]
    assert mount["Source"].startswith("demo-dev-gateway")
    assert mount["VolumeOptions"]["Labels"]["slipway.data"] == "true"
    container.files[f"{FOLDER}/{CERTIFICATE}"] = (text[:-40].encode(), 0o400)  # half of it
    assert gateways.with_issued(spec, container) == spec


@pytest.mark.parametrize(
    "options",
    [
        {"acme": {"port": 1}, "tls": {"certificate": "", "key": "a.key", "port": 1}},
        {"acme": {"port": 1}, "challenges": {"t" * 43: f"{'t' * 43}.{'t' * 43}"}},
    ],
)
def test_what_is_issued_is_no_input(options: dict[str, Any]) -> None:
    [(name, reason)] = GatewayHandler().check({**INPUTS, "options": options}).failures
    assert name == "options" and "is no input" in reason


def test_maintenance_is_no_input() -> None:
    [(name, reason)] = GatewayHandler().check({**INPUTS, "options": {"maintenance": {}}}).failures
    assert name == "options" and "is no input" in reason


def test_a_secret_among_the_options_and_options_that_are_none_are_refused() -> None:
    [(name, reason)] = GatewayHandler().check({**INPUTS, "options": {"hosts": [SecretValue("x")]}}).failures
    assert name == "options" and "anyone could read" in reason
    [(name, reason)] = GatewayHandler().check({**INPUTS, "options": {"hots": []}}).failures
    assert name == "options" and "hots" in reason


def test_limits_change_in_place_and_come_as_pulumis_numbers(deployed_state: ResourceState) -> None:
    limited = {**INPUTS, "routes": [{**ROUTE, "body": "10m", "connect": 2.0, "idle": 60.0}]}
    assert GatewaySpec.from_inputs(limited).routes[0].limits == RequestLimits("10m", connect=2, idle=60)
    assert list(GatewayHandler().diff(deployed_state, limited).replaces) == []
    assert GatewayHandler().validate_inputs({**INPUTS, "routes": [{**ROUTE, "body": "lots"}]})[0][0] == "routes"


@pytest.mark.parametrize("key", ["image", "port", "bind", "network"])
def test_all_else_replaces_it_and_frees_the_port_first(deployed_state: ResourceState, key: str) -> None:
    diff = GatewayHandler().diff(deployed_state, {**INPUTS, key: "other"})
    assert (list(diff.replaces), diff.delete_before_replace) == ([key], True)


def test_a_port_that_is_taken_is_refused_while_the_old_gateway_serves(
    deployed_state: ResourceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "is_port_taken", lambda bind, port: True)
    monkeypatch.setattr(ports, "find_port_holder", lambda port: "process 7 (other)")
    monkeypatch.setattr(gateways, "describe_port_setting", lambda stack: f"slipway:port in infra/Pulumi.{stack}.yaml")
    with pytest.raises(SlipwayError, match=r"port 9090 at 127\.0\.0\.1 is taken by process 7") as caught:
        GatewayHandler().diff(deployed_state, {**INPUTS, "port": 9090})
    assert "slipway:port in infra/Pulumi.dev.yaml" in caught.value.remedy


def test_a_port_for_tls_that_is_taken_is_refused_while_the_old_gateway_serves(
    deployed_state: ResourceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(GatewayHandler().diff(deployed_state, {**INPUTS, "tlsPort": 8443}).replaces) == ["tlsPort"]
    monkeypatch.setattr(ports, "is_port_taken", lambda bind, port: port == 8443)
    monkeypatch.setattr(ports, "find_port_holder", lambda port: "")
    with pytest.raises(SlipwayError, match=r"port 8443 at 127\.0\.0\.1 is taken") as caught:
        GatewayHandler().diff(deployed_state, {**INPUTS, "tlsPort": 8443})
    assert "tls-port" in caught.value.remedy


def test_http3_is_another_port_of_the_container(deployed_state: ResourceState) -> None:
    news = {**INPUTS, "http3Port": 8443.0}
    assert list(GatewayHandler().diff(deployed_state, news).replaces) == ["http3Port"]
    assert gateways.gateway_options(GatewaySpec.from_inputs(news), "urn")["ports"]["8443/udp"] == ("127.0.0.1", 8443)


def test_a_configuration_changed_by_hand_is_put_right(
    deployed_state: ResourceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand = {**GatewaySpec.from_inputs(INPUTS).config, "routes.json": "{}"}
    monkeypatch.setattr(gateway, "_read_config", lambda deployed_state: by_hand)
    diff = GatewayHandler().diff(deployed_state, INPUTS)
    assert (list(diff.changed), list(diff.replaces)) == (["routes"], [])


def test_upstreams_that_are_not_known_yet_are_no_mistake(deployed_state: ResourceState) -> None:
    news = {**INPUTS, "routes": [{**ROUTE, "upstream": UNKNOWN}]}
    assert not GatewayHandler().check(news).failures
    assert list(GatewayHandler().diff(deployed_state, news).changed) == ["routes"]


def test_routes_that_could_not_be_served_are_found_before_anything_happens() -> None:
    [(name, reason)] = GatewayHandler().check({**INPUTS, "routes": [ROUTE, {**ROUTE, "service": "b"}]}).failures
    assert name == "routes"
    assert "api and b have the same route /api" in reason


def test_inputs_that_are_wholly_unknown_are_judged_without_being_read(deployed_state: ResourceState) -> None:
    diff = GatewayHandler().diff(deployed_state, {**INPUTS, "network": UNKNOWN, "routes": UNKNOWN})
    assert "network" in diff.replaces


@pytest.mark.parametrize("bind", ["localhost", "127.0.0.l", "", "0", "fe80::1%eth0"])
def test_plain_pulumi_may_not_bind_it_to_what_is_no_ip_address_either(bind: str) -> None:
    [(name, reason)] = GatewayHandler().check({**INPUTS, "bind": bind}).failures
    assert name == "bind" and "IP address" in reason


def test_a_gateway_that_hangs_is_replaced(deployed_state: ResourceState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "_find_gateway_drift", lambda deployed_state, news: "containerId")
    assert list(GatewayHandler().diff(deployed_state, INPUTS).replaces) == ["containerId"]


def test_a_gateway_that_the_engine_would_not_bring_back_is_put_right_in_place(
    deployed_state: ResourceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "find_drift", lambda deployed_state: gateway.RESTART_POLICY_DRIFT)
    diff = GatewayHandler().diff(deployed_state, INPUTS)
    assert (list(diff.changed), list(diff.replaces)) == ([gateway.RESTART_POLICY_DRIFT], [])


def test_a_secret_of_a_configuration_that_envoy_refuses_does_not_stay(
    deployed_state: ResourceState, monkeypatch: pytest.MonkeyPatch, docker: FakeEngine
) -> None:
    container = docker.add_container("demo-dev-gateway", service="gateway")
    olds = {**INPUTS, "secrets": {"old.key": "before"}}
    state = replace(deployed_state, id=container.id, inputs=olds, outputs={"imageId": "i"})

    def held(name: str) -> tuple[str, int]:
        text, mode = container.files[f"/run/secrets/{name}"]
        return text.decode(), mode

    def refuse(*_: object) -> None:
        assert held("new.key") == ("secret", 0o400)
        raise SlipwayError("Envoy refuses the configuration")

    news = {**INPUTS, "secrets": {"new.key": "secret"}}
    container.files["/run/secrets/old.key"] = (b"before", 0o400)
    with monkeypatch.context() as patch:
        patch.setattr(envoy, "switch_config", refuse)
        with pytest.raises(SlipwayError, match="refuses"):
            GatewayHandler().update(state, news, CancellationToken())
    assert (held("new.key"), held("old.key")) == (("", 0o400), ("before", 0o400))
    monkeypatch.setattr(envoy, "switch_config", lambda *_: None)
    GatewayHandler().update(state, news, CancellationToken())
    assert (held("new.key"), held("old.key")) == (("secret", 0o400), ("", 0o400))


def test_canaries_change_in_place_and_their_shares_are_checked(deployed_state: ResourceState) -> None:
    canaries = {"api": {"upstream": "demo-dev-api-canary-1:8000", "percent": 10.0}}
    news = {**INPUTS, "canaries": canaries}
    assert not GatewayHandler().check(news).failures
    diff = GatewayHandler().diff(deployed_state, news)
    assert (list(diff.changed), list(diff.replaces)) == (["canaries"], [])
    [route] = GatewaySpec.from_inputs(news).routes
    assert route.upstreams == ("demo-dev-api-1:8000", "demo-dev-api-canary-1:8000")
    assert route.canary and route.canary.percent == 10
    for wrong in ({"percent": 100}, {"upstream": "nowhere"}):
        broken = {"api": {**canaries["api"], **wrong}}
        [(key, _)] = GatewayHandler().check({**INPUTS, "canaries": broken}).failures
        assert key == "routes"


def test_a_gateway_that_lost_its_canary_gets_it_again(deployed_state: ResourceState) -> None:
    canaries = {"api": {"upstream": "demo-dev-api-canary-1:8000", "percent": 10}}
    state = replace(deployed_state, inputs={**INPUTS, "canaries": canaries})
    diff = GatewayHandler().diff(state, {**INPUTS, "canaries": canaries})
    assert (list(diff.changed), list(diff.replaces)) == (["routes"], [])
