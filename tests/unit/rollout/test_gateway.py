"""The gateway's container, without an engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.provider.test_gateway import INPUTS

from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout import gateway
from slipway._internal.rollout.gateway import GatewaySpec, gateway_options, gateway_url


def test_it_publishes_its_port_only_where_it_is_told_to() -> None:
    asked = gateway_options(GatewaySpec.from_inputs(INPUTS), "urn")
    assert asked["ports"] == {"8080/tcp": ("127.0.0.1", 8080)}
    assert asked["user"] == "65532:65532" and asked["read_only"]


def test_its_metrics_are_for_the_engines_machine_alone() -> None:
    asked = gateway_options(GatewaySpec.from_inputs({**INPUTS, "bind": "0.0.0.0", "metricsPort": 9464}), "urn")
    assert asked["ports"]["9464/tcp"] == ("127.0.0.1", 9464)


def test_it_publishes_the_port_for_tls_where_it_has_one() -> None:
    asked = gateway_options(GatewaySpec.from_inputs({**INPUTS, "tlsPort": 443.0}), "urn")
    assert asked["ports"] == {"8080/tcp": ("127.0.0.1", 8080), "8443/tcp": ("127.0.0.1", 443)}
    assert gateway_url("127.0.0.1", 443, "https") == "https://127.0.0.1"


@pytest.mark.parametrize(
    ("host", "bind", "port", "expected"),
    [
        ("unix:///var/run/docker.sock", "127.0.0.1", 8080, "http://127.0.0.1:8080"),
        ("unix:///var/run/docker.sock", "0.0.0.0", 80, "http://localhost"),
        ("ssh://me@server", "0.0.0.0", 80, "http://server"),
        ("tcp://server:2376", "10.0.0.1", 8080, "http://10.0.0.1:8080"),
        ("unix:///var/run/docker.sock", "::1", 8080, "http://[::1]:8080"),
        ("ssh://me@server", "::", 8080, "http://server:8080"),
    ],
)
def test_its_url_says_where_it_is_reached(
    monkeypatch: pytest.MonkeyPatch, host: str, bind: str, port: int, expected: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert gateway_url(bind, port) == expected


def container_at(*ips: str, port: int = 8080) -> Any:
    ports = {f"{port}/tcp": [{"HostIp": ip, "HostPort": "8080"} for ip in ips]}
    return SimpleNamespace(reload=lambda: None, attrs={"NetworkSettings": {"Ports": ports}})


def test_a_gateway_that_the_engine_lets_listen_elsewhere_is_refused() -> None:
    gateway._check_listen_address(container_at("127.0.0.1"), GatewaySpec.from_inputs(INPUTS))
    with pytest.raises(
        SlipwayError, match=r"should listen on 127\.0\.0\.1, but the engine published it on 0\.0\.0\.0, ::"
    ):
        gateway._check_listen_address(container_at("0.0.0.0", "::"), GatewaySpec.from_inputs(INPUTS))
    public = GatewaySpec.from_inputs({**INPUTS, "bind": "0.0.0.0"})
    gateway._check_listen_address(container_at("0.0.0.0", port=8443), public)
    with pytest.raises(SlipwayError, match=r"should listen on 127\.0\.0\.1, but the engine published it on 0\.0\.0\.0"):
        gateway._check_listen_address(container_at("0.0.0.0", port=9464), public)
