"""`slipway:docker:Network`: the network that connects a stack's containers and its gateway."""

# ruff: noqa: ARG002 - not every handler needs every argument

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway._internal.provider.handler import ActualState, Diff, ResourceHandler, ResourceState, changed_keys
from slipway._internal.provider.values import Props
from slipway._internal.rollout import ownership
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.run import engine
from slipway._internal.run.engine_objects import empty_network, name_taken_error
from slipway._internal.run.owner import DeployedObject


class NetworkHandler(ResourceHandler):
    """A bridge network with a fixed name, so an engine has only one of it."""

    required = ("name",)
    defaults = {"labels": {}}
    computed = ("networkId",)

    def diff(self, old: ResourceState, news: Props) -> Diff:
        changed = changed_keys(old.inputs, news) or ([] if _find_network(old.id) else ["networkId"])
        return Diff(changed, replaces=changed, delete_before_replace=True)

    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        name, labels = inputs["name"], {**inputs["labels"], engine.URN_LABEL: urn, **ownership.current_owner().labels}
        if {engine.WORKSPACE_LABEL, engine.STACK_LABEL} <= labels.keys():
            ownership.refuse_foreign_objects(labels[engine.WORKSPACE_LABEL], labels[engine.STACK_LABEL], urn)
        with engine.docker_errors():
            networks = engine.client().networks
            network = _find_orphaned_network(name, urn) or networks.create(name, driver="bridge", labels=labels)
        return ActualState(network.id, {**self.public_inputs(inputs), "networkId": network.id})

    def read(self, old: ResourceState) -> ActualState:
        return ActualState(old.id, old.outputs) if _find_network(old.id) else ActualState("")

    def delete(self, old: ResourceState, cancellation: CancellationToken) -> None:
        network = _find_network(old.id)
        if network is None:
            return
        labels = network.attrs.get("Labels") or {}
        ownership.refuse_copied_object(labels, network.name)
        empty_network(network, lambda container: _belongs_with(labels, container))
        with engine.docker_errors():
            network.remove()


def _belongs_with(labels: Mapping[str, str], container: DeployedObject) -> bool:
    """Whether a container that is no longer in the state has the same stack and owner as the network."""
    stack = {key: labels.get(key, "") for key in (engine.WORKSPACE_LABEL, engine.STACK_LABEL)}
    return (
        all(stack.values())
        and stack.items() <= container.labels.items()
        and ownership.current_owner().owns(container.labels)
    )


def _find_network(network_id: str) -> Any:
    with engine.docker_errors():
        try:
            return engine.client().networks.get(network_id)
        except engine.load_sdk().errors.NotFound:
            return None


def _find_orphaned_network(name: str, urn: str) -> Any:
    """Return the network of this name if a killed deployment created it; refuse anyone else's."""
    for network in engine.client().networks.list(names=[name]):
        if network.name != name:  # the engine's filter also finds names that only contain it
            continue
        if ownership.is_own_network(network, urn):
            return network
        labels = network.attrs.get("Labels") or {}
        raise name_taken_error(DeployedObject("network", name, network.id, labels), ownership.current_owner())
    return None
