"""Traces, on the real Envoy: what a collector is told of a request, and what it is not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from msgspec.structs import replace
from tests.e2e.upstream import upstream
from tests.gateway_process import GatewayProcess, free_port, gateway_process
from tests.otlp_collector import Collector, attributes, collector

from slipway._internal.commands.envoy import GatewayOptions, Route
from slipway._internal.commands.gateway_options import Consumer, TracesOptions
from slipway._internal.model.auth import AuthSettings
from slipway._internal.model.consumer_keys import hash_key
from slipway._internal.model.routes import RouteSettings

SENTINEL = "sentinel-of-a-secret"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
UNSAMPLED = "5bf92f3577b34da6a3ce929d0e0e4736"


def options(port: int, percent: int = 100) -> GatewayOptions:
    return GatewayOptions(traces=TracesOptions(f"http://127.0.0.1:{port}", percent))


def wait(done: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def parent(trace: str, sampled: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{PARENT}-{sampled}"}


def seen_by_service(gateway: GatewayProcess, path: str, headers: dict[str, str]) -> dict[str, str]:
    status, _, body = gateway.ask(path, headers=headers)
    assert status == 200, body
    return {name.lower(): value for name, value in json.loads(body)["headers"]}


def test_a_callers_trace_goes_on_to_the_service_and_no_secret_is_in_it() -> None:
    key = f"slw_{SENTINEL}"
    with upstream() as service, collector() as found:
        rules = RouteSettings(path="/a", strip=True, auth=AuthSettings(keys=True))
        route = Route("a", "/a", f"127.0.0.1:{service.port}", rules=rules)
        known = replace(options(found.port), consumers={"shop": Consumer((hash_key(key),))})
        with gateway_process([route], known) as gateway:
            secret = {"Authorization": f"Bearer {SENTINEL}", "Cookie": f"s={SENTINEL}", "Referer": f"/{SENTINEL}"}
            sent = {**secret, "X-Api-Key": key, "X-Request-ID": "mine-1", **parent(TRACE)}
            headers = seen_by_service(gateway, f"/a/b?token={SENTINEL}", sent)
            wait(lambda: len(found.named("request.id", "mine-1")) >= 2)
        spans = {span.kind: span for span in found.named("request.id", "mine-1")}
        incoming, outgoing = spans[2], spans[3]  # SPAN_KIND_SERVER, SPAN_KIND_CLIENT
        assert {span.trace_id.hex() for span in (incoming, outgoing)} == {TRACE}
        assert (incoming.parent_span_id.hex(), outgoing.parent_span_id) == (PARENT, incoming.span_id)
        assert headers["traceparent"] == f"00-{TRACE}-{outgoing.span_id.hex()}-01"
        assert headers["x-request-id"] == "mine-1"
        said = attributes(incoming)
        assert (said["url.path"], said["http.route"], said["slipway.service"]) == ("/b", "/a", "a")
        assert (said["consumer"], said["http.method"], said["http.status_code"]) == ("shop", "GET", "200")
        assert {name for name, _ in found.spans} == {"slipway-gateway"}
        everything = b"".join(found.raw)
        assert b"mine-1" in everything and SENTINEL.encode() not in everything
        assert hash_key(key).encode() not in everything


def test_of_the_others_so_many_are_traced_as_the_stack_says() -> None:
    with upstream() as service, collector() as found:
        routes = [Route("a", "/", f"127.0.0.1:{service.port}")]
        with gateway_process(routes, options(found.port, 10)) as gateway:
            for number in range(200):
                headers = seen_by_service(gateway, f"/{number}", {"X-Request-ID": "chance"})
                assert headers["traceparent"].count("-") == 3
            for _ in range(20):
                assert seen_by_service(gateway, "/x", parent(UNSAMPLED, "00"))["traceparent"].endswith("-00")
            assert gateway.ask("/x", headers={"X-Request-ID": "last", **parent(TRACE)})[0] == 200
            wait(lambda: found.named("request.id", "last"))
        assert 2 <= len([span for span in found.named("request.id", "chance") if span.kind == 2]) <= 60
        assert not [span for _, span in found.spans if span.trace_id.hex() == UNSAMPLED]


def test_a_collector_that_is_not_there_harms_no_request_and_gets_spans_once_it_is() -> None:
    with upstream() as service:
        routes = [Route("a", "/", f"127.0.0.1:{service.port}")]
        with gateway_process(routes, options(free_port())) as gateway:
            assert {gateway.ask(f"/{number}")[0] for number in range(50)} == {200}
            with collector() as found:
                gateway.switch(routes, options(found.port))
                wait(lambda: gateway.ask("/x", headers={"X-Request-ID": "now"})[0] == 200 and _has(found, "now"))
                gateway.switch(routes)
                assert gateway.ask("/x", headers={"X-Request-ID": "off", **parent(TRACE)})[0] == 200
                assert not _has(found, "off")


def _has(found: Collector, request: str) -> bool:
    return bool(found.named("request.id", request))
