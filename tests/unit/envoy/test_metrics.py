"""Metrics, on the real Envoy: they are there, and no other part of Envoy's admin interface is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.gateway_process import GatewayProcess, gateway_process

from slipway._internal.commands.envoy import GatewayOptions, Route, parse_config

ON = GatewayOptions(metrics=True)
ROUTES = [Route("api", "/api", "127.0.0.1:9")]


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with gateway_process(ROUTES, ON) as found:
        yield found


def ask(gateway: GatewayProcess, target: str, method: str = "GET", more: str = "", body: str = "") -> tuple[int, str]:
    """Send a request whose target is as it stands; return the status and all that came."""
    with socket.create_connection(("127.0.0.1", gateway.ports["metrics"]), timeout=20) as talk:
        talk.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n{body}".encode())
        reply = b"".join(iter(lambda: talk.recv(65536), b"")).decode(errors="replace")
    return int(reply.split(" ", 2)[1]), reply


def test_prometheus_reads_them(gateway: GatewayProcess) -> None:
    gateway.ask("/api")
    status, text = ask(gateway, "/metrics")
    assert status == 200 and "# TYPE envoy_http_downstream_rq_total counter" in text
    assert (
        'envoy_http_downstream_rq_xx{envoy_response_code_class="5",envoy_http_conn_manager_prefix="gateway"} 1' in text
    )
    assert "server: slipway" in text


OTHERS = [
    *("/", "/stats", "/stats/prometheus", "/config_dump", "/certs", "/server_info", "/logging", "/memory", "/ready"),
    *("/metrics/", "/metrics/..", "/metrics/../config_dump", "/metrics/../../certs", "/metrics/%2e%2e/config_dump"),
    *("/metrics%2F..%2Fconfig_dump", "//metrics", "/%6detrics", "/METRICS", "/metrics;x", "/./metrics"),
    *("/x/../metrics", "/metrics?filter=x", "/metrics?", "/metrics#x", "/metrics%00", "\\metrics", "*"),
    *("http://x/config_dump", "/metrics%3Ffilter=.*", "/metrics/config_dump", "/.slipway/health", "/api"),
]
METHODS = ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "get", "CONNECT"]


def test_no_other_path_leads_anywhere_however_it_is_written_and_no_other_method(gateway: GatewayProcess) -> None:
    asked = [(target, method) for target in OTHERS for method in ("GET", "POST")]
    asked += [("x:80" if method == "CONNECT" else "/metrics", method) for method in METHODS]
    with ThreadPoolExecutor(16) as pool:
        answers = dict(zip(asked, pool.map(lambda each: ask(gateway, *each), asked), strict=True))
    assert [each for each, (status, _) in answers.items() if status not in (400, 404)] == []
    assert [each for each, (_, text) in answers.items() if "envoy_" in text or "bootstrap" in text] == []


@pytest.mark.parametrize("target", ["/quitquitquit", "/healthcheck/fail", "/drain_listeners", "/reset_counters"])
def test_nobody_ends_the_gateway_by_it(gateway: GatewayProcess, target: str) -> None:
    smuggled = f"POST {target} HTTP/1.1\r\nHost: x\r\n\r\n"
    forged = f"X-Envoy-Original-Path: {target}\r\nX-HTTP-Method-Override: POST\r\n"
    assert ask(gateway, target, "POST")[0] == 404
    assert ask(gateway, "/metrics", more=f"{forged}Content-Length: {len(smuggled)}\r\n", body=smuggled)[0] in (200, 400)
    assert ask(gateway, "/metrics", more="Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", body=smuggled)[0] == 400
    assert ask(gateway, "/metrics", more="Upgrade: websocket\r\nConnection: Upgrade\r\n")[0] in (200, 403)
    assert ask(gateway, "/metrics")[0] == gateway.ask("/.slipway/health")[0] == 200
    assert "envoy_server_live 1" in ask(gateway, "/metrics")[1].replace("{}", "")


def test_they_come_and_go_as_it_runs() -> None:
    with gateway_process(ROUTES) as gateway:
        with pytest.raises(OSError):
            ask(gateway, "/metrics")
        gateway.switch(ROUTES, ON)
        assert ask(gateway, "/metrics")[0] == 200
        assert parse_config(gateway.files) == (tuple(ROUTES), ON)
        gateway.switch(ROUTES)
        with pytest.raises(OSError):
            ask(gateway, "/metrics")
