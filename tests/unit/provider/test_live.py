"""Containers and gateways as Pulumi has them made, compared, changed and removed, on an engine in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.fake_engine import GATEWAY_ENTRYPOINT, FakeEngine
from tests.unit.provider.test_container import IMAGE
from tests.unit.provider.test_container import INPUTS as CONTAINER_INPUTS
from tests.unit.provider.test_gateway import INPUTS as GATEWAY_INPUTS
from tests.unit.provider.test_gateway import ROUTE

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace_path import use_workspace
from slipway._internal.provider.container import RESTART_POLICY_DRIFT, ContainerHandler
from slipway._internal.provider.gateway import GatewayHandler
from slipway._internal.provider.handler import ResourceHandler, ResourceState
from slipway._internal.provider.values import UNKNOWN
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.reachability import ContainerAddress
from slipway._internal.run import engine, ports

CHECK = {"Test": ["CMD", "check"]}
LIVE = "/etc/slipway/routes.json"


@pytest.fixture
def machine(docker: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """An engine that has both images; what runs on it can be reached, and its ports are free."""
    use_workspace(tmp_path)
    docker.add_image(IMAGE, Healthcheck=CHECK)
    docker.add_image(GATEWAY_INPUTS["image"], Entrypoint=GATEWAY_ENTRYPOINT)
    monkeypatch.setattr(ContainerAddress, "is_local", True)
    monkeypatch.setattr(ContainerAddress, "probe_port", lambda *_: "open")
    monkeypatch.setattr(ports, "answers_http", lambda _endpoint: True)
    monkeypatch.setattr(ports, "is_port_taken", lambda *_: False)
    monkeypatch.setattr(ports, "find_port_holder", lambda _port: "process 7")
    return docker


def make(handler: ResourceHandler, inputs: dict[str, Any]) -> ResourceState:
    name = "Gateway::gateway" if isinstance(handler, GatewayHandler) else "Container::api"
    urn = f"urn:pulumi:dev::demo::slipway:docker:{name}"
    made = handler.create(urn, inputs, CancellationToken())
    return ResourceState(urn, made.id, inputs, made.outputs)


@pytest.fixture
def service(machine: FakeEngine) -> ResourceState:
    return make(ContainerHandler(), CONTAINER_INPUTS)


@pytest.fixture
def gateway(machine: FakeEngine) -> ResourceState:
    return make(GatewayHandler(), GATEWAY_INPUTS)


def test_a_services_container_is_known_by_its_name_id_and_image_but_its_secrets_are_not(
    machine: FakeEngine, service: ResourceState
) -> None:
    container = machine.all[service.id]
    assert service.outputs["containerName"] == container.name
    assert service.outputs["imageId"] == container.image.id
    assert "secrets" not in service.outputs


def test_what_runs_as_it_should_is_no_change(machine: FakeEngine, service: ResourceState) -> None:
    assert list(ContainerHandler().diff(service, CONTAINER_INPUTS).changed) == []
    assert ContainerHandler().read(service).id == service.id


@pytest.mark.parametrize(
    ("change", "drifted"),
    [
        ({"Running": False}, "containerId"),
        ({"Paused": True}, "containerId"),
        ({"Health": {"Status": "unhealthy"}}, "containerId"),
    ],
)
def test_what_no_longer_runs_or_fails_its_check_is_replaced(
    machine: FakeEngine, service: ResourceState, change: dict[str, Any], drifted: str
) -> None:
    machine.on_exec = lambda _container, _command: (1, "not well")
    machine.all[service.id].state.update(change)
    assert list(ContainerHandler().diff(service, CONTAINER_INPUTS).replaces) == [drifted]


def test_what_is_well_again_is_left_although_the_engine_has_found_it_unhealthy(
    machine: FakeEngine, service: ResourceState
) -> None:
    machine.all[service.id].state["Health"] = {"Status": "unhealthy"}
    assert list(ContainerHandler().diff(service, CONTAINER_INPUTS).changed) == []


@pytest.mark.parametrize(("key", "value"), [("Image", "another"), ("Name", "/renamed")])
def test_what_was_changed_by_hand_is_replaced(
    machine: FakeEngine, service: ResourceState, key: str, value: str
) -> None:
    machine.all[service.id].attrs[key] = value
    assert len(ContainerHandler().diff(service, CONTAINER_INPUTS).replaces) == 1


def test_a_container_that_the_engine_would_not_bring_back_is_put_right_in_place(
    machine: FakeEngine, service: ResourceState
) -> None:
    container = machine.all[service.id]
    container.attrs["HostConfig"]["RestartPolicy"] = {"Name": "no"}
    diff = ContainerHandler().diff(service, CONTAINER_INPUTS)
    assert (list(diff.changed), list(diff.replaces)) == ([RESTART_POLICY_DRIFT], [])
    ContainerHandler().update(service, CONTAINER_INPUTS, CancellationToken())
    assert container.attrs["HostConfig"]["RestartPolicy"] == {"Name": "always"}


def test_what_is_gone_is_made_again(machine: FakeEngine, service: ResourceState) -> None:
    machine.all.clear()
    assert list(ContainerHandler().diff(service, CONTAINER_INPUTS).replaces) == ["containerId"]
    assert ContainerHandler().read(service).id == ""
    ContainerHandler().delete(service, CancellationToken())  # gone already is fine


def test_a_removed_container_gets_its_drain_time_and_its_secrets_go_with_it(
    machine: FakeEngine, service: ResourceState
) -> None:
    container = machine.all[service.id]
    ContainerHandler().delete(service, CancellationToken())
    assert container.did[-2] in ("stop within 30", "stop within 29") and container.did[-1] == "remove"
    assert not machine.all and not machine.stored_volumes


def test_a_gateway_tells_its_url_and_serves_its_routes(machine: FakeEngine, gateway: ResourceState) -> None:
    assert gateway.outputs["url"] == "http://127.0.0.1:8080"
    assert ROUTE["upstream"] in machine.all[gateway.id].text(LIVE)
    assert list(GatewayHandler().diff(gateway, GATEWAY_INPUTS).changed) == []


def test_new_routes_are_served_by_the_same_gateway(machine: FakeEngine, gateway: ResourceState) -> None:
    news = {**GATEWAY_INPUTS, "routes": [{**ROUTE, "upstream": "demo-dev-api-2:8000"}]}
    outputs = GatewayHandler().update(gateway, news, CancellationToken())
    assert "demo-dev-api-2:8000" in machine.all[gateway.id].text(LIVE)
    assert (outputs["containerId"], outputs["imageId"]) == (gateway.id, gateway.outputs["imageId"])


def test_a_configuration_that_was_changed_by_hand_is_put_back(machine: FakeEngine, gateway: ResourceState) -> None:
    machine.all[gateway.id].files[LIVE] = (b"{}", 0o444)
    assert list(GatewayHandler().diff(gateway, GATEWAY_INPUTS).changed) == ["routes"]


def test_what_envoy_reads_at_its_start_only_replaces_it(machine: FakeEngine, gateway: ResourceState) -> None:
    machine.all[gateway.id].files[LIVE.replace("routes", "bootstrap")] = (b"{}", 0o444)
    diff = GatewayHandler().diff(gateway, GATEWAY_INPUTS)
    assert (list(diff.replaces), diff.delete_before_replace) == (["containerId"], True)


def test_an_nginx_that_is_still_locked_goes_on_serving(machine: FakeEngine, gateway: ResourceState) -> None:
    machine.stored_images[GATEWAY_INPUTS["image"]].attrs["Config"]["Entrypoint"] = ["nginx"]
    machine.all[gateway.id].files.clear()
    with pytest.raises(SlipwayError, match="has no Envoy") as caught:
        GatewayHandler().diff(gateway, GATEWAY_INPUTS)
    assert "invoke ship --stack dev" in caught.value.remedy
    assert machine.all[gateway.id].state["Running"]


@pytest.mark.parametrize(("ip", "drifted"), [("0.0.0.0", "url"), ("127.0.0.1", "containerId")])
def test_a_gateway_that_hangs_or_listens_elsewhere_is_replaced(
    machine: FakeEngine, gateway: ResourceState, monkeypatch: pytest.MonkeyPatch, ip: str, drifted: str
) -> None:
    monkeypatch.setattr(ports, "answers_http", lambda _endpoint: False)
    machine.all[gateway.id].attrs["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostIp"] = ip
    assert list(GatewayHandler().diff(gateway, GATEWAY_INPUTS).replaces) == [drifted]


def test_a_port_that_is_taken_is_refused_while_the_old_gateway_still_serves(
    machine: FakeEngine, gateway: ResourceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "is_port_taken", lambda *_: True)
    with pytest.raises(SlipwayError, match="9090") as caught:
        GatewayHandler().diff(gateway, {**GATEWAY_INPUTS, "port": 9090})
    assert "process 7" in caught.value.message
    assert machine.all[gateway.id].state["Running"]


def test_a_new_image_is_pulled_before_the_old_gateway_goes(machine: FakeEngine, gateway: ResourceState) -> None:
    image = GATEWAY_INPUTS["image"].replace("a" * 64, "b" * 64)
    with pytest.raises(SlipwayError, match="manifest unknown"):
        GatewayHandler().diff(gateway, {**GATEWAY_INPUTS, "image": image})
    machine.add_image(image, pulled=False)
    with pytest.raises(SlipwayError, match="has no Envoy") as caught:
        GatewayHandler().diff(gateway, {**GATEWAY_INPUTS, "image": image})
    assert "invoke setup" in caught.value.remedy
    assert machine.all[gateway.id].state["Running"]
    machine.add_image(image, Entrypoint=GATEWAY_ENTRYPOINT)
    assert list(GatewayHandler().diff(gateway, {**GATEWAY_INPUTS, "image": image}).replaces) == ["image"]
    assert image in machine.stored_images


@pytest.mark.parametrize(("drain", "replaced", "seconds"), [(20, False, 20), (20, True, 10), (5, True, 5)])
def test_a_gateway_that_makes_room_for_another_has_ten_seconds_at_most(
    machine: FakeEngine, drain: int, replaced: bool, seconds: int
) -> None:
    handler, inputs = GatewayHandler(), {**GATEWAY_INPUTS, "drainSeconds": drain}
    made = make(handler, inputs)
    container = machine.all[made.id]
    if replaced:
        handler.diff(made, {**inputs, "port": 9090})
    handler.delete(made, CancellationToken())
    assert container.did[-2:] == [f"stop within {seconds}", "remove"]
    assert not machine.all and not machine.stored_volumes


def test_what_is_not_known_yet_is_previewed_without_asking_the_engine(machine: FakeEngine) -> None:
    known = GatewayHandler().preview_outputs({**GATEWAY_INPUTS, "image": UNKNOWN})
    assert known["url"] == "http://127.0.0.1:8080" and known["containerId"] == UNKNOWN
    assert GatewayHandler().preview_outputs({**GATEWAY_INPUTS, "port": UNKNOWN})["url"] == UNKNOWN


@pytest.mark.parametrize(
    ("change", "key"),
    [({"bind": "localhost"}, "bind"), ({"port": 0}, "port"), ({"port": True}, "port"), ({"routes": [{}]}, "routes")],
)
def test_inputs_that_no_gateway_can_have_are_named(change: dict[str, Any], key: str) -> None:
    problems = GatewayHandler().check({**GATEWAY_INPUTS, **change}).failures
    assert [name for name, _ in problems] == [key]


def test_the_labels_of_all_that_is_made_say_whose_it_is(machine: FakeEngine, service: ResourceState) -> None:
    labels = machine.all[service.id].labels
    assert labels[engine.SERVICE_LABEL] == "api" and labels[engine.URN_LABEL] == service.urn
