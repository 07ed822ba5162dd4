"""The provider over gRPC, as Pulumi calls it, without an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc
from tests.unit.provider.test_container import INPUTS

from slipway._internal.model.errors import ConfigError
from slipway._internal.provider.server import serve_in_thread, start_server
from slipway._internal.provider.servicer import Provider
from slipway._internal.provider.values import UNKNOWN, SecretValue, from_struct, to_struct

URN = "urn:pulumi:dev::demo::slipway:docker:Container::api"


@pytest.fixture
def running_provider() -> Iterator[tuple[int, Provider]]:
    """A running provider, and its port."""
    server, port, provider = start_server()
    yield port, provider
    server.stop(None)


@pytest.fixture
def provider(running_provider: tuple[int, Provider]) -> Iterator[Any]:
    """A client of a running provider."""
    port, _ = running_provider
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield provider_pb2_grpc.ResourceProviderStub(channel)


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An address where no engine listens."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    return f"unix://{tmp_path}/none.sock"


def test_it_takes_secrets_as_secrets_and_can_be_attached(provider: Any) -> None:
    provider.Attach(provider_pb2_grpc.pulumi_dot_plugin__pb2.PluginAttach(address="127.0.0.1:1"))
    assert provider.Configure(provider_pb2.ConfigureRequest()).acceptSecrets
    assert provider.Handshake(provider_pb2.ProviderHandshakeRequest()).accept_secrets


def test_checked_inputs_stay_secret(provider: Any) -> None:
    news = to_struct({**INPUTS, "secrets": SecretValue({"TOKEN": "x"})})
    checked = provider.Check(provider_pb2.CheckRequest(urn=URN, news=news))
    assert from_struct(checked.inputs)["secrets"] == SecretValue({"TOKEN": "x"})


def test_a_preview_asks_no_engine(provider: Any, no_engine: str) -> None:
    news = to_struct({**INPUTS, "image": UNKNOWN})
    request = provider_pb2.CreateRequest(urn=URN, properties=news, preview=True)
    outputs = from_struct(provider.Create(request).properties)
    assert outputs["containerName"] == UNKNOWN
    assert outputs["service"] == "api"
    assert "secrets" not in outputs


def test_without_an_engine_the_error_says_address_and_remedy_and_shows_no_traceback(
    provider: Any, no_engine: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        provider.Create(provider_pb2.CreateRequest(urn=URN, properties=to_struct(INPUTS)))
    said = caught.value.details()
    assert no_engine in said
    assert "invoke setup" in said
    assert "Traceback" not in said


def test_what_failed_is_kept_as_the_error_that_it_was_until_pulumi_starts_anew(
    provider: Any, running_provider: tuple[int, Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "gopher://engine")
    with pytest.raises(grpc.RpcError) as caught:
        provider.Create(provider_pb2.CreateRequest(urn=URN, properties=to_struct(INPUTS)))
    kept = running_provider[1].errors[URN]
    assert isinstance(kept, ConfigError) and "DOCKER_HOST" in kept.message and kept.remedy
    assert caught.value.details().splitlines()[-1] == f"remedy: {kept.remedy}", "as plain `pulumi up` shows it"
    provider.Configure(provider_pb2.ConfigureRequest())
    assert not running_provider[1].errors


def test_inputs_that_are_wrong_are_a_question_of_configuration(
    provider: Any, running_provider: tuple[int, Provider]
) -> None:
    checked = provider.Check(provider_pb2.CheckRequest(urn=URN, news=to_struct({**INPUTS, "colour": "red"})))
    kept = running_provider[1].errors[URN]
    assert [failure.property for failure in checked.failures] == ["colour"]
    assert isinstance(kept, ConfigError) and kept.message.startswith("api (slipway:docker:Container): `colour` is no")


def test_a_bug_is_told_in_two_lines(provider: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        provider.Create(provider_pb2.CreateRequest(urn=URN, properties=to_struct({"image": "x"})))
    assert caught.value.details().endswith("This is a bug in Slipway's provider.")
    assert len(caught.value.details().splitlines()) == 2


def test_an_unknown_resource_is_named(provider: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        provider.Check(provider_pb2.CheckRequest(urn=URN.replace("Container", "Ship"), news=to_struct({})))
    assert "slipway:docker:Ship is not one of Slipway's resources" in caught.value.details()


def test_one_thread_serves_a_whole_process() -> None:
    assert serve_in_thread() == serve_in_thread()
