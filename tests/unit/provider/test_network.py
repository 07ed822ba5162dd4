"""The network on which a stack meets: made once, kept while others are on it, and nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.fake_engine import FakeEngine, stack_labels

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.workspace_path import use_workspace
from slipway._internal.provider.handler import ResourceState
from slipway._internal.provider.network import NetworkHandler
from slipway._internal.rollout import ownership
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.run import engine

URN = "urn:pulumi:dev::demo::slipway:docker:Network::demo-dev"
STACK = {engine.WORKSPACE_LABEL: "demo", engine.STACK_LABEL: "dev"}
INPUTS: dict[str, Any] = {"name": "demo-dev", "labels": STACK}


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path) -> None:
    use_workspace(tmp_path)


def create(handler: NetworkHandler) -> ResourceState:
    made = handler.create(URN, INPUTS, CancellationToken())
    return ResourceState(URN, made.id, INPUTS, made.outputs)


def test_a_network_has_its_stacks_labels_and_its_makers(docker: FakeEngine) -> None:
    made = create(NetworkHandler())
    network = docker.stored_networks[made.id]
    assert made.outputs == {**INPUTS, "networkId": network.id}
    assert network.attrs["Labels"] == {**STACK, engine.URN_LABEL: URN, **ownership.current_owner().labels}


def test_the_network_of_a_killed_deploy_is_taken_up(docker: FakeEngine) -> None:
    assert create(NetworkHandler()).id == create(NetworkHandler()).id
    assert len(docker.stored_networks) == 1


def test_a_network_of_another_name_is_none_of_its_business(docker: FakeEngine) -> None:
    docker.networks.create("demo-dev-2", driver="bridge", labels={})
    assert docker.stored_networks[create(NetworkHandler()).id].name == "demo-dev"


def test_somebody_elses_network_of_the_name_is_refused(docker: FakeEngine) -> None:
    docker.networks.create("demo-dev", driver="bridge", labels={})
    with pytest.raises(ConfigError, match="demo-dev") as caught:
        create(NetworkHandler())
    assert "docker network rm demo-dev" in caught.value.remedy


def test_what_is_there_is_left_and_what_is_gone_is_made_again(docker: FakeEngine) -> None:
    handler = NetworkHandler()
    made = create(handler)
    assert list(handler.diff(made, INPUTS).changed) == [] and handler.read(made).id == made.id
    del docker.stored_networks[made.id]
    assert list(handler.diff(made, INPUTS).replaces) == ["networkId"] and handler.read(made).id == ""
    handler.delete(made, CancellationToken())  # gone already is fine


def test_another_name_takes_the_place_of_the_old_network(docker: FakeEngine) -> None:
    handler = NetworkHandler()
    diff = handler.diff(create(handler), {**INPUTS, "name": "demo-qa"})
    assert (list(diff.replaces), diff.delete_before_replace) == (["name"], True)


def test_a_network_goes_with_the_containers_of_its_stack_that_were_forgotten_in_it(docker: FakeEngine) -> None:
    handler = NetworkHandler()
    made = create(handler)
    labels = {**stack_labels("api"), **ownership.current_owner().labels}
    docker.add_container("demo-dev-api-1", labels=labels, network="demo-dev")
    handler.delete(made, CancellationToken())
    assert not docker.all and not docker.stored_networks


def test_a_network_that_others_use_stays_and_they_are_named(docker: FakeEngine) -> None:
    handler = NetworkHandler()
    made = create(handler)
    docker.add_container("postgres", network="demo-dev")
    with pytest.raises(SlipwayError, match="postgres"):
        handler.delete(made, CancellationToken())
    assert made.id in docker.stored_networks
