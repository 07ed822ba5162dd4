"""Data volumes: they outlive containers, one container at a time runs on them, and a failed new one gives way."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.fake_engine import FakeContainer, FakeEngine
from tests.unit.rollout.test_start import machine, spec  # noqa: F401 - a fixture

from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.container import create_healthy_container
from slipway._internal.run import engine
from slipway._internal.run.engine_objects import is_data, list_objects, remove_leftovers

URN = "urn:pulumi:dev::demo::slipway:docker:Container::api"
VOLUME = "demo-dev-api.data"


def make(name: str, **inputs: Any) -> Any:
    return create_healthy_container(spec(volumes={"data": "/data"}, **inputs), name, URN, CancellationToken())


def test_a_volume_is_made_once_and_known_as_data(machine: FakeEngine) -> None:  # noqa: F811
    make("demo-dev-api-1")
    labels = machine.stored_volumes[VOLUME].attrs["Labels"]
    assert labels[engine.DATA_LABEL] == "true" and labels[engine.SERVICE_LABEL] == "api"
    make("demo-dev-api-2")
    assert machine.stored_volumes[VOLUME].attrs["Labels"] is labels


def test_the_old_container_has_ended_before_the_new_one_starts(machine: FakeEngine) -> None:  # noqa: F811
    old = make("demo-dev-api-1")
    running: list[list[str]] = []
    machine.on_start = lambda _container: running.append(
        [each.name for each in machine.all.values() if each.state["Running"]]
    )
    make("demo-dev-api-2", drainSeconds=45)
    assert running == [["demo-dev-api-2"]]
    assert "stop within 45" in old.did


def test_where_the_new_one_fails_the_old_one_is_started_again(machine: FakeEngine) -> None:  # noqa: F811
    old = make("demo-dev-api-1")

    def crash(container: FakeContainer) -> None:
        if container.name == "demo-dev-api-2":
            container.end(1)

    machine.on_start = crash
    with pytest.raises(SlipwayError, match="exit code 1"):
        make("demo-dev-api-2")
    assert old.state["Running"] and list(machine.all) == [old.id]
    assert VOLUME in machine.stored_volumes


def test_an_image_that_cannot_be_pulled_stops_nothing(machine: FakeEngine) -> None:  # noqa: F811
    old = make("demo-dev-api-1")
    with pytest.raises(SlipwayError):
        make("demo-dev-api-2", image="127.0.0.1:5000/demo/none@sha256:" + "b" * 64)
    assert old.state["Running"] and not [did for did in old.did if did.startswith("stop")]


def test_somebody_elses_container_on_the_volume_is_refused(machine: FakeEngine) -> None:  # noqa: F811
    old = make("demo-dev-api-1")
    old.labels[engine.SERVICE_LABEL] = "other"
    with pytest.raises(SlipwayError, match=f"demo-dev-api-1 runs on a volume of api: {VOLUME}") as caught:
        make("demo-dev-api-2")
    assert "docker stop demo-dev-api-1" in caught.value.remedy
    assert old.state["Running"]


def test_a_volume_of_that_name_that_somebody_else_has_made_is_refused(machine: FakeEngine) -> None:  # noqa: F811
    machine.add_volume(VOLUME, {})
    with pytest.raises(SlipwayError, match=f"there is already a volume {VOLUME}"):
        make("demo-dev-api-1")
    assert machine.all == {}


def test_what_is_left_over_goes_and_data_stays(machine: FakeEngine) -> None:  # noqa: F811
    make("demo-dev-api-1", secrets={"TOKEN": "x"})
    remove_leftovers("demo", "dev", (), lambda _thing: True)
    left = list_objects("demo", "dev")
    assert [thing.name for thing in left] == [VOLUME] and is_data(left[0])


def test_a_health_check_of_its_own_replaces_the_images(machine: FakeEngine) -> None:  # noqa: F811
    check = {"command": ["ping", "me"], "interval": 7, "timeout": 2, "startPeriod": 9, "retries": 4}
    made = make("demo-dev-api-1", healthcheck=check)
    assert machine.executed == [["ping", "me"]]
    assert made.options["healthcheck"] == {
        "test": ["CMD", "ping", "me"],
        "interval": 7_000_000_000,
        "timeout": 2_000_000_000,
        "start_period": 9_000_000_000,
        "retries": 4,
    }


def test_restrictions_are_lifted_only_where_the_service_says_so(machine: FakeEngine) -> None:  # noqa: F811
    strict = make("demo-dev-api-1").options
    assert (strict["read_only"], strict["cap_drop"], strict.get("cap_add")) == (True, ["ALL"], None)
    lifted = make(
        "demo-dev-api-2", readOnly=False, capabilities=["CHOWN"], user="70:70", entrypoint=["/e"], command=["c"]
    ).options
    assert (lifted["read_only"], lifted["cap_drop"], lifted["cap_add"]) == (False, ["ALL"], ["CHOWN"])
    assert (lifted["user"], lifted["entrypoint"], lifted["command"]) == ("70:70", ["/e"], ["c"])
    assert "no-new-privileges:true" in lifted["security_opt"]
