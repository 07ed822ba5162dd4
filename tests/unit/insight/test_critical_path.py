"""The critical path is the chain of steps that a run waited for."""

from __future__ import annotations

from slipway._internal.insight.critical_path import find_critical_path
from slipway._internal.model.run_record import RecordedStep


def step(begin: float, end: float, kind: str = "step") -> RecordedStep:
    return RecordedStep(f"{begin}", kind, begin, end)  # type: ignore[arg-type]


def test_nothing_has_no_path() -> None:
    assert find_critical_path({}) == []
    assert find_critical_path({"api": (step(1, 1),)}) == []


def test_it_leads_back_from_the_last_end_through_what_was_waited_for() -> None:
    services = {
        "api": (step(0, 4), step(4, 6)),
        "web": (step(0, 2), step(2, 3)),
        "gateway": (step(6.01, 7, "gateway"),),
    }
    assert find_critical_path(services) == [("api", 0), ("api", 1), ("gateway", 0)]


def test_a_step_waits_for_its_own_service_where_that_had_just_ended() -> None:
    services = {"api": (step(0, 3.9), step(4, 6)), "web": (step(0, 4),)}
    assert find_critical_path(services) == [("api", 0), ("api", 1)]


def test_with_a_builder_for_one_at_a_time_the_path_goes_through_other_services() -> None:
    services = {"api": (step(0, 3),), "web": (step(3, 5),), "worker": (step(5, 9),)}
    assert find_critical_path(services) == [("api", 0), ("web", 0), ("worker", 0)]


def test_a_whole_image_is_left_to_its_steps() -> None:
    assert find_critical_path({"api": (step(0, 5, "image"), step(1, 4))}) == [("api", 1)]
    assert find_critical_path({"api": (step(0, 5, "image"),)}) == [("api", 0)]


def test_a_chain_of_many_steps_ends() -> None:
    services = {f"s{n}": tuple(step(i, i + 1) for i in range(100)) for n in range(50)}
    assert len(find_critical_path(services)) == 100
