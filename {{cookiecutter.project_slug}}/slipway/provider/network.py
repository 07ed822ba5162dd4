"""`slipway:docker:Network`: the network on which a stack's containers and its gateway meet."""

# ruff: noqa: ARG002 - not every kind needs all that it is told

from __future__ import annotations

from typing import Any

from slipway.model.errors import SlipwayError
from slipway.provider.kind import Diff, Kind, Real, State, Stop, changed_keys
from slipway.provider.values import Props
from slipway.run import engine


class Network(Kind):
    """A bridge network with the name it is given, so there is one of it in an engine."""

    required = ("name",)
    defaults = {"labels": {}}
    computed = ("networkId",)

    def diff(self, old: State, news: Props) -> Diff:
        changed = changed_keys(old.inputs, news) or ([] if _find(old.id) else ["networkId"])
        return Diff(changed, replaces=changed, delete_first=True)

    def create(self, urn: str, inputs: Props, stop: Stop) -> Real:
        name, labels = inputs["name"], {**inputs["labels"], engine.URN: urn}
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
        with engine.speaking():
            network.reload()
            if users := sorted(each["Name"] for each in (network.attrs.get("Containers") or {}).values()):
                raise SlipwayError(
                    f"network {network.name} is still used by {', '.join(users)}",
                    remedy=f"Remove them, or `docker network disconnect {network.name} NAME`, and try again.",
                )
            network.remove()


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
        if (network.attrs.get("Labels") or {}).get(engine.URN) == urn:
            return network
        raise SlipwayError(
            f"there is already a network {name}, and it isn't this stack's",
            remedy=f"Remove it with `docker network rm {name}`, or choose another name.",
        )
    return None
