"""The provider over gRPC, as Pulumi calls it, without an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc
from tests.unit.fake_engine import FakeEngine
from tests.unit.provider.test_container import INPUTS

from slipway import __version__
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace_path import use_workspace
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


NETWORK = "urn:pulumi:dev::demo::slipway:docker:DockerServices$slipway:docker:Network::demo-dev"
NAMED: dict[str, Any] = {"name": "demo-dev", "labels": {}}


def test_a_plugin_tells_its_version_and_its_configuration_never_differs(provider: Any) -> None:
    assert provider.GetPluginInfo(empty_pb2.Empty()).version == __version__
    assert __version__ in provider.GetSchema(provider_pb2.GetSchemaRequest()).schema
    news = to_struct({"a": "b"})
    assert from_struct(provider.CheckConfig(provider_pb2.CheckRequest(news=news)).inputs) == {"a": "b"}
    none = provider_pb2.DiffResponse.DIFF_NONE
    assert provider.DiffConfig(provider_pb2.DiffRequest(news=news)).changes == none


def test_a_resource_lives_from_its_creation_to_its_end(provider: Any, docker: FakeEngine, tmp_path: Path) -> None:
    use_workspace(tmp_path)
    inputs = to_struct(NAMED)
    made = provider.Create(provider_pb2.CreateRequest(urn=NETWORK, properties=inputs))
    assert made.id in docker.stored_networks

    known = {"urn": NETWORK, "id": made.id}
    read = provider.Read(provider_pb2.ReadRequest(**known, inputs=inputs, properties=made.properties))
    assert (read.id, from_struct(read.inputs)) == (made.id, NAMED)

    provider.Delete(provider_pb2.DeleteRequest(**known, old_inputs=inputs, properties=made.properties))
    assert not docker.stored_networks
    read = provider.Read(provider_pb2.ReadRequest(**known, inputs=inputs, properties=made.properties))
    assert read.id == "", "it is gone"


def difference(provider: Any, docker: FakeEngine, news: dict[str, Any], *ignored: str) -> Any:
    if not docker.stored_networks:
        docker.networks.create("demo-dev", driver="bridge", labels={})
    (network,) = docker.stored_networks
    old = {"old_inputs": to_struct(NAMED), "olds": to_struct({**NAMED, "networkId": network})}
    return provider.Diff(
        provider_pb2.DiffRequest(urn=NETWORK, id=network, news=to_struct(news), ignoreChanges=ignored, **old)
    )


def test_a_difference_says_what_changes_and_what_it_replaces(provider: Any, docker: FakeEngine) -> None:
    assert difference(provider, docker, NAMED).changes == provider_pb2.DiffResponse.DIFF_NONE
    found = difference(provider, docker, {**NAMED, "name": "demo-qa"})
    assert found.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert (list(found.diffs), list(found.replaces), found.deleteBeforeReplace) == (["name"], ["name"], True)
    assert found.detailedDiff["name"].kind == provider_pb2.PropertyDiff.UPDATE_REPLACE


def test_a_change_that_is_to_be_ignored_is_none(provider: Any, docker: FakeEngine) -> None:
    found = difference(provider, docker, {**NAMED, "name": "demo-qa"}, "name")
    assert (found.changes, found.deleteBeforeReplace) == (provider_pb2.DiffResponse.DIFF_NONE, False)


@pytest.mark.parametrize("preview", [True, False])
def test_an_update_keeps_what_a_deploy_found_out(provider: Any, docker: FakeEngine, preview: bool) -> None:
    container = docker.add_container("demo-dev-api-1", service="api")
    old = {"old_inputs": to_struct(INPUTS), "olds": to_struct({**INPUTS, "containerId": container.id})}
    news = to_struct({**INPUTS, "drainSeconds": 5})
    request = provider_pb2.UpdateRequest(urn=URN, id=container.id, news=news, preview=preview, **old)
    outputs = from_struct(provider.Update(request).properties)
    assert (outputs["containerId"], outputs["drainSeconds"]) == (container.id, 5)
    assert ("update" in container.did) is not preview


def test_nothing_is_made_of_what_is_not_known_yet(provider: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        provider.Create(provider_pb2.CreateRequest(urn=URN, properties=to_struct({**INPUTS, "network": UNKNOWN})))
    assert "network must be known" in caught.value.details()


def test_after_an_interrupt_nothing_is_begun_until_pulumi_starts_anew(provider: Any, docker: FakeEngine) -> None:
    docker.add_image(INPUTS["image"])
    provider.Cancel(empty_pb2.Empty())
    with pytest.raises(grpc.RpcError) as caught:
        provider.Create(provider_pb2.CreateRequest(urn=URN, properties=to_struct(INPUTS)))
    assert "interrupted" in caught.value.details()
    assert not docker.all


def test_a_stack_that_was_protected_does_not_become_open_unsaid(
    provider: Any, running_provider: tuple[int, Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLIPWAY_UNPROTECT", raising=False)
    urn = "urn:pulumi:prod::demo::slipway:index:Protection::protection"
    olds, news = ({"stack": "prod", "protected": value} for value in (True, False))
    request = provider_pb2.CheckRequest(urn=urn, olds=to_struct(olds), news=to_struct(news))
    assert [failure.property for failure in provider.Check(request).failures] == ["protected"]
    running_provider[1].lifted_stack = "prod"
    assert not provider.Check(request).failures
    made = provider.Create(provider_pb2.CreateRequest(urn=urn, properties=to_struct(news)))
    assert from_struct(made.properties) == news
    old = {"old_inputs": to_struct(olds), "olds": to_struct(olds)}
    found = provider.Diff(provider_pb2.DiffRequest(urn=urn, id=made.id, news=to_struct(news), **old))
    assert (list(found.diffs), list(found.replaces)) == (["protected"], [])
