"""What becomes of answers and connections: compression, streams, other protocols; on the real Envoy."""

from __future__ import annotations

import gzip
import socket

import pytest
from tests.running_envoy import RunningEnvoy

from slipway._internal.commands.envoy import Route
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.model.route_rules import CorsSettings, LimitSettings
from slipway._internal.model.routes import RouteSettings

EVERYTHING = RouteSettings(
    path="/all",
    limit=LimitSettings(1000, "second"),
    allow=("127.0.0.0/8",),
    cors=CorsSettings(("*",)),
    compression=True,
    retries=3,
)


@pytest.fixture(scope="module")
def served(gateway: RunningEnvoy) -> RunningEnvoy:
    rules = [
        RouteSettings(path="/small", compression=True),
        RouteSettings(path="/plain"),
        RouteSettings(path="/closed", websockets=False),
        EVERYTHING,
    ]
    routes = [Route(each.path[1:], each.path, gateway.upstream, rules=each) for each in rules]
    gateway.serve(
        [*routes, Route("sized", "/sized", gateway.upstream, RequestLimits("1k"), rules=RouteSettings(path="/sized"))]
    )
    return gateway


LARGE = {"X__Filler": "y" * 2000}


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("br", "br"),
        ("gzip, deflate, br", "br"),
        ("deflate", None),
        ("gzip;q=0", None),
        ("identity", None),
    ],
)
def test_answers_are_compressed_for_who_takes_it(served: RunningEnvoy, accepted: str, encoding: str | None) -> None:
    found = served.ask("/small/x", Accept__Encoding=accepted, **LARGE)
    assert found.headers.get("content-encoding") == encoding
    assert "Accept-Encoding" in found.headers.get("vary", "") or encoding is None
    if encoding == "gzip":
        assert b"GET /small/x" in gzip.decompress(found.body)
    assert (len(found.body) < 1500) is (encoding is not None)
    assert "content-encoding" not in served.ask("/plain/x", Accept__Encoding=accepted, **LARGE).headers


def test_what_is_small_or_compressed_already_or_no_text_stays_as_it_is(served: RunningEnvoy) -> None:
    assert "content-encoding" not in served.ask("/small/x", Accept__Encoding="gzip").headers
    zipped = served.ask("/small/zipped", Accept__Encoding="br")
    assert (zipped.headers["content-encoding"], zipped.headers["etag"]) == ("gzip", '"1"')
    for kind, is_text in (("image/png", False), ("text/html;charset=utf-8", True), ("text/htmlx", False)):
        found = served.ask(f"/small/large?size=9000&type={kind}", Accept__Encoding="gzip")
        assert ("content-encoding" in found.headers) is is_text


@pytest.mark.parametrize("path", ["/small/events", "/all/events", "/plain/events"])
def test_events_pass_when_they_are_sent_whatever_rules_there_are(served: RunningEnvoy, path: str) -> None:
    served.service.go_on.clear()
    connection = served.connect()
    connection.request("GET", path, headers={"Accept-Encoding": "gzip, br", "Origin": "https://x.example"})
    reply = connection.getresponse()
    assert reply.getheader("Content-Encoding") is None
    assert reply.readline() == b"data: one\n"  # the service waits before it sends the second
    served.service.go_on.set()
    assert reply.read() == b"\ndata: two\n\n"


@pytest.mark.parametrize("protocol", ["websocket", "WebSocket", "tcp", "SPDY/3.1"])
def test_a_route_refuses_connections_that_change_their_protocol(served: RunningEnvoy, protocol: str) -> None:
    headers = {"Upgrade": protocol, "Connection": "Upgrade"}
    refused = served.ask("/closed/x", **headers)
    assert (refused.status, refused.json["error"]) == (403, "forbidden")
    assert served.ask("/plain/x", **headers).status == 200  # the service answers; it does not upgrade


def test_a_websocket_passes_where_all_rules_are_on(served: RunningEnvoy) -> None:
    with socket.socket() as service:
        service.bind(("127.0.0.1", 0))
        service.listen()
        port = service.getsockname()[1]
        rules = [Route("ws", "/all", f"127.0.0.1:{port}", RequestLimits("1k"), rules=EVERYTHING)]
        served.serve(rules)
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as talk:
            talk.sendall(b"GET /all HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            service.settimeout(20)
            while True:
                peer, _ = service.accept()
                peer.settimeout(20)
                if peer.recv(65536):  # not the look whether the port is open
                    break
            peer.sendall(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello")
            found = b""
            while not found.endswith(b"hello"):
                found += talk.recv(65536)
            talk.sendall(b"x" * 5000)  # more than the limit of a body, which a connection has not
            left = 5000
            while left:
                left -= len(peer.recv(65536))
            peer.close()
