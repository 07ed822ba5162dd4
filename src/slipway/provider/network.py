"""`slipway:docker:Network`: the network on which a stack's containers and its gateway meet."""

# ruff: noqa: ARG002 - not every kind needs all that it is told

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.provider import ownership
from slipway.provider.kind import Diff, Kind, Real, State, Stop, changed_keys
from slipway.provider.values import Props
from slipway.run import engine
from slipway.run.owner import Thing
from slipway.run.things import empty_network, name_taken


class Network(Kind):
    """A bridge network with the name it is given, so there is one of it in an engine."""

    required = ("name",)
    defaults = {"labels": {}}
    computed = ("networkId",)

    def diff(self, old: State, news: Props) -> Diff:
        changed = changed_keys(old.inputs, news) or ([] if _find(old.id) else ["networkId"])
        return Diff(changed, replaces=changed, delete_first=True)

    def create(self, urn: str, inputs: Props, stop: Stop) -> Real:
        name, labels = inputs["name"], {**inputs["labels"], engine.URN: urn, **ownership.owner().labels}
        if {engine.WORKSPACE, engine.STACK} <= labels.keys():
            ownership.refuse_beside_others(labels[engine.WORKSPACE], labels[engine.STACK], urn)
        with engine.speaking():
            networks = engine.client().networks
            network = _left_behind(name, urn) or networks.create(name, driver="bridge", labels=labels)
        return Real(network.id, {**self.public(inputs), "networkId": network.id})

    def read(self, old: State) -> Real:
        return Real(old.id, old.outputs) if _find(old.id) else Real("")

    def delete(self, old: State, stop: Stop) -> None:
        network = _find(old.id)
        if network is None:
            return
        labels = network.attrs.get("Labels") or {}
        ownership.refuse_copied(labels, network.name)
        empty_network(network, lambda each: _goes_with(labels, each))
        with engine.speaking():
            network.remove()


def _goes_with(labels: Mapping[str, str], each: Thing) -> bool:
    """Whether a container is of the same stack and owner as a network, of which a deploy has forgotten it."""
    stack = {key: labels.get(key, "") for key in (engine.WORKSPACE, engine.STACK)}
    return all(stack.values()) and stack.items() <= each.labels.items() and ownership.owner().has(each.labels)


def _find(network_id: str) -> Any:
    with engine.speaking():
        try:
            return engine.client().networks.get(network_id)
        except engine.sdk().errors.NotFound:
            return None


def _left_behind(name: str, urn: str) -> Any:
    """Return the network of this name when a deployment that was killed made it; refuse anyone else's."""
    for network in engine.client().networks.list(names=[name]):
        if network.name != name:  # the engine's filter also finds names that only contain it
            continue
        if ownership.network_is_ours(network, urn):
            return network
        labels = network.attrs.get("Labels") or {}
        raise name_taken(Thing("network", name, network.id, labels), ownership.owner())
    return None
