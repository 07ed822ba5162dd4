"""Which of a service's containers serves, and which are strays."""

from __future__ import annotations

from slipway._internal.run.engine import ContainerSummary
from slipway._internal.targets.docker.containers import describe_drift, select_serving


def made(identity: str, state: str = "running", health: str = "", *, dev: bool = False) -> ContainerSummary:
    return ContainerSummary(identity, identity, "api", "image", state, health, "", 1, dev)


def test_what_no_state_knows_is_a_stray_also_where_it_is_the_newest() -> None:
    old, stray = made("1"), made("2")
    assert select_serving([old, stray], {"1"}) == (old, [stray])
    assert select_serving([stray], {"1"}) == (None, [stray])


def test_while_invoke_dev_works_its_container_is_the_one_and_the_one_it_stopped_is_no_stray() -> None:
    stopped, dev = made("1", "exited"), made("2", dev=True)
    assert select_serving([stopped, dev], {"1"}) == (dev, [])
    assert select_serving([stopped, dev], None) == (dev, [])


def test_where_the_state_cannot_be_read_the_newest_that_runs_is_the_one() -> None:
    running, exited = made("1"), made("2", "exited")
    assert select_serving([running, exited], None) == (running, [exited])


def test_unhealthy_is_drift() -> None:
    assert describe_drift(made("1", health="unhealthy"), "dev") == "unhealthy: `invoke up` replaces it"
    assert describe_drift(made("1", "paused"), "prod") == "it is paused: `invoke deploy --stack prod` restores it"
    assert describe_drift(made("1", health="healthy"), "dev") == ""
