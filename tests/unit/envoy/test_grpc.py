"""gRPC through the gateway, on the real Envoy: HTTP/2 on both sides, and each message when it is sent."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.certificates import Authority
from tests.gateway_process import GatewayProcess, gateway_process

from slipway._internal.commands.envoy import GatewayOptions, Route, parse_config, render_config
from slipway._internal.commands.gateway_options import TlsOptions
from slipway._internal.model.route_rules import LimitSettings
from slipway._internal.model.routes import RouteSettings

HOST = "shop.example.com"


def echo(messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
    """Answer each message when it comes; one says that it is enough."""
    for message in messages:
        if message == b"enough":
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "enough")
        yield message.upper()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(4))
    handler = grpc.stream_stream_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("demo.Echo", {"All": handler}),))
    found = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield found
    server.stop(None)


@pytest.fixture(scope="module")
def channel(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    issued = authority.issue(HOST)
    options = GatewayOptions(hosts=(HOST,), tls=TlsOptions(issued.chain, "one.key", 8443))
    rules = RouteSettings(path="/demo.Echo", limit=LimitSettings(1000, "second"), compression=True)
    routes = [Route("echo", "/demo.Echo", f"127.0.0.1:{port}", rules=rules, protocol="h2c")]
    with gateway_process(routes, options, {"one.key": issued.key}) as gateway:
        yield dialled(gateway, authority.root)


def dialled(gateway: GatewayProcess, root: Path) -> Any:
    trusted = grpc.ssl_channel_credentials(root.read_bytes())
    names = [("grpc.ssl_target_name_override", HOST), ("grpc.default_authority", HOST)]
    return grpc.secure_channel(f"127.0.0.1:{gateway.ports['https']}", trusted, names)


def test_messages_pass_both_ways_when_they_are_sent(channel: Any) -> None:
    said: queue.Queue[bytes] = queue.Queue()
    answers: Any = channel.stream_stream("/demo.Echo/All")(iter(said.get, b""), timeout=20)
    for message in (b"one", b"two"):  # the second is sent once the first has been answered
        said.put(message)
        assert next(answers) == message.upper()
    said.put(b"")
    assert list(answers) == []


def test_the_status_at_the_end_is_the_services_own(channel: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(channel.stream_stream("/demo.Echo/All")(iter([b"one", b"enough"]), timeout=20))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.OUT_OF_RANGE, "enough")


def test_a_path_of_no_service_is_no_method(channel: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(channel.stream_stream("/other.Echo/All")(iter([b"one"]), timeout=20))
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_the_protocol_is_read_back() -> None:
    routes = (Route("echo", "/", "echo:80", protocol="h2c"),)
    assert parse_config(render_config(routes)).routes == routes
