"""What a stack has in an engine is cleared away by owner: nothing of others goes, and nothing that is in use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.run import engine, engine_objects
from slipway._internal.run.owner import FOLDER_LABEL, HOST_LABEL, DeployedObject

OURS, THEIRS = {"owner": "ours"}, {"owner": "theirs"}


class NotFound(Exception):
    """What the SDK raises for a container that is gone."""


class Engine:
    """Containers, networks and volumes; `mounts` says which container has which volume."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, dict[str, Any]]] = {"container": {}, "network": {}, "volume": {}}
        self.mounts: dict[str, list[str]] = {}
        self.gone: list[str] = []
        self.api = self

    def add(self, kind: str, name: str, labels: dict[str, str] | None = None, *mounts: str) -> None:
        self.things[kind][name] = labels or {}
        self.mounts[name] = [*mounts]

    def containers(self, **_: Any) -> list[dict[str, Any]]:
        return [
            {"Names": [f"/{name}"], "Id": name, "Labels": labels, "Mounts": [{"Name": v} for v in self.mounts[name]]}
            for name, labels in self.things["container"].items()
        ]

    def networks(self, **_: Any) -> list[dict[str, Any]]:
        return [{"Name": name, "Id": name, "Labels": labels} for name, labels in self.things["network"].items()]

    def volumes(self, **_: Any) -> dict[str, Any]:
        found = [{"Name": name, "Labels": labels} for name, labels in self.things["volume"].items()]
        return {"Volumes": found or None}

    def inspect_container(self, identity: str) -> dict[str, Any]:
        if identity not in self.things["container"]:
            raise NotFound
        return {"Name": f"/{identity}", "Id": identity, "Config": {"Labels": self.things["container"][identity]}}

    def remove(self, name: str) -> None:
        self.gone.append(name)
        for each in self.things.values():
            each.pop(name, None)


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    found = Engine()
    sdk = SimpleNamespace(errors=SimpleNamespace(NotFound=NotFound))
    monkeypatch.setattr(engine, "client", lambda: found)
    monkeypatch.setattr(engine, "docker_errors", nullcontext)
    monkeypatch.setattr(engine, "load_sdk", lambda: sdk)
    monkeypatch.setattr(engine, "remove_container", found.remove)
    monkeypatch.setattr(engine, "remove_volume", found.remove)
    yield found


def mine(thing: DeployedObject) -> bool:
    return thing.labels.get("owner") == "ours"


def test_all_that_has_the_stacks_labels_is_listed_by_kind(there: Engine) -> None:
    there.add("container", "api", OURS)
    there.add("network", "net", THEIRS)
    there.add("volume", "data")
    assert engine_objects.list_objects("shop", "dev") == [
        DeployedObject("container", "api", "api", OURS),
        DeployedObject("network", "net", "net", THEIRS),
        DeployedObject("volume", "data", "data", {}),
    ]


def test_containers_that_are_in_no_state_go_and_those_that_stay_or_are_others_do_not(there: Engine) -> None:
    for name, labels in (("kept", OURS), ("crashed", OURS), ("others", THEIRS), ("nobodys", None)):
        there.add("container", name, labels)
    assert engine_objects.remove_leftovers("shop", "dev", {"kept"}, mine) == ["crashed"]
    assert there.gone == ["crashed"]


def test_volumes_go_once_no_container_has_them_whoever_made_that(there: Engine) -> None:
    there.add("container", "crashed", OURS, "freed")
    there.add("container", "others", THEIRS, "used")
    for name, labels in (("freed", OURS), ("used", OURS), ("foreign", THEIRS)):
        there.add("volume", name, labels)
    assert engine_objects.remove_leftovers("shop", "dev", (), mine) == ["crashed", "freed"]
    assert there.gone == ["crashed", "freed"]


def network(there: Engine, *inside: str) -> Any:
    return SimpleNamespace(name="net", attrs={"Containers": {name: {} for name in inside}}, reload=lambda: None)


def test_a_network_is_emptied_of_ones_own_and_refused_while_others_are_in_it(there: Engine) -> None:
    there.add("container", "own", OURS)
    there.add("container", "others", THEIRS)
    engine_objects.empty_network(network(there, "own", "ended-meanwhile"), mine)
    assert there.gone == ["own"]
    with pytest.raises(SlipwayError, match=r"network net is still used by others$") as refused:
        engine_objects.empty_network(network(there, "others"), mine)
    assert "docker network disconnect net NAME" in refused.value.remedy and there.gone == ["own"]


@pytest.mark.parametrize(
    ("kind", "labels", "said", "command"),
    [
        ("container", {}, "not Slipway's", "docker rm -f api"),
        ("network", {engine.WORKSPACE_LABEL: "shop", engine.STACK_LABEL: "dev"}, "shop, stack dev", "network rm api"),
        ("volume", {FOLDER_LABEL: "/home/ann/shop", HOST_LABEL: "here"}, "that of /home/ann/shop", "volume rm api"),
        ("volume", {FOLDER_LABEL: "/home/bob/shop", HOST_LABEL: "box/1"}, "/home/bob/shop on box", "volume rm api"),
    ],
)
def test_a_name_that_is_taken_is_told_with_whose_it_is(
    kind: Any, labels: dict[str, str], said: str, command: str
) -> None:
    owner = SimpleNamespace(host="here")
    error = engine_objects.name_taken_error(DeployedObject(kind, "api", "i", labels), owner)  # type: ignore[arg-type]
    assert isinstance(error, ConfigError)
    assert f"there is already a {kind} api, which is" in error.message and said in error.message
    assert command in error.remedy and "--beside" in error.remedy
