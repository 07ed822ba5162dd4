"""How the Pulumi stack handles the engine's events."""

from __future__ import annotations

import re
from types import SimpleNamespace

from pulumi.automation.events import EngineEvent
from tests.conftest import ENGINE

from slipway._internal.run.pulumi import OperationCounter, Outcome
from slipway._internal.run.resource_tree import COMPONENT_TYPES


def event(**parts: object) -> EngineEvent:
    empty = {"policy_event": None, "summary_event": None, "res_outputs_event": None, "resource_pre_event": None}
    return SimpleNamespace(**{**empty, **parts})  # type: ignore[return-value]


def stack_with(outputs: dict[str, str]) -> SimpleNamespace:
    return SimpleNamespace(metadata=SimpleNamespace(type="pulumi:pulumi:Stack", new=SimpleNamespace(outputs=outputs)))


def test_events_are_counted_and_passed_on() -> None:
    passed: list[EngineEvent] = []
    tally = OperationCounter(passed.append)
    tally(event(res_outputs_event=stack_with({"urls": "u"})))
    tally(event(summary_event=SimpleNamespace(resource_changes={"same": 3, "update": 1})))
    assert tally.outcome() == Outcome({"same": 3, "update": 1}, {"urls": "u"})
    assert len(passed) == 2


def begins(kind: str, operation: str) -> EngineEvent:
    return event(resource_pre_event=SimpleNamespace(metadata=SimpleNamespace(type=kind, op=operation)))


def test_an_image_that_is_forgotten_is_no_change() -> None:
    tally = OperationCounter(lambda _event: None)
    for kind in ("docker-build:index:Image", "pulumi:providers:docker-build"):
        tally(begins(kind, "delete"))
    tally(begins("docker-build:index:Image", "create"))
    tally(event(summary_event=SimpleNamespace(resource_changes={"same": 3, "delete": 2})))
    assert tally.outcome() == Outcome({"same": 3}, {})
    tally(begins("slipway:docker:Container", "delete"))
    tally(event(summary_event=SimpleNamespace(resource_changes={"same": 3, "delete": 3})))
    assert tally.outcome() == Outcome({"same": 3, "delete": 1}, {})


def test_a_component_is_nothing_but_its_parts() -> None:
    tally = OperationCounter(lambda _event: None)
    for kind in COMPONENT_TYPES:
        tally(begins(kind, "create"))
    tally(event(summary_event=SimpleNamespace(resource_changes={"same": 3, "create": len(COMPONENT_TYPES)})))
    assert tally.outcome() == Outcome({"same": 3}, {})


def test_every_component_of_the_engine_is_known_as_one() -> None:
    found = {
        kind
        for path in ENGINE.rglob("*.py")
        for kind in re.findall(r'super\(\).__init__\("(slipway:\w+:\w+)", \S+, None, opts\)', path.read_text("utf-8"))
    }
    assert found == {*COMPONENT_TYPES}


def test_what_stays_as_it_was_is_no_change() -> None:
    assert not Outcome({"same": 3, "read": 1}, {}).has_changes
    assert Outcome({"same": 3, "update": 1}, {}).has_changes
    assert not Outcome({"update": 0}, {}).has_changes
