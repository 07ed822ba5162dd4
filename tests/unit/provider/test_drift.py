"""Drift of a container, as the engine reports it."""

from __future__ import annotations

from typing import Any

import pytest

from slipway._internal.provider import container
from slipway._internal.provider.container import RESTART_POLICY_DRIFT, find_drift
from slipway._internal.provider.handler import ResourceState
from slipway._internal.run import engine

OLD = ResourceState("urn", "abc", {"network": "demo-dev"}, {"imageId": "sha256:b", "containerName": "demo-dev-api-1"})


@pytest.fixture
def details(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A container as it was deployed."""
    found: dict[str, Any] = {
        "Id": "abc",
        "Name": "/demo-dev-api-1",
        "Image": "sha256:b",
        "State": {"Running": True, "Restarting": False, "Paused": False, "Health": {"Status": "healthy"}},
        "NetworkSettings": {"Networks": {"demo-dev": {}}},
        "HostConfig": {"RestartPolicy": {"Name": "always"}},
        "Config": {"Healthcheck": {"Test": ["CMD", "/app", "health"]}},
    }
    monkeypatch.setattr(container, "inspect_container", lambda _id: found)
    return found


def test_what_is_as_it_was_deployed_has_not_drifted(details: dict[str, Any]) -> None:
    assert details and find_drift(OLD) == ""


@pytest.mark.parametrize("state", [{"Running": False}, {"Restarting": True}, {"Paused": True}])
def test_what_does_not_run_is_replaced(details: dict[str, Any], state: dict[str, bool]) -> None:
    details["State"].update(state)
    assert find_drift(OLD) == "containerId"


def test_what_was_taken_from_its_network_or_renamed_is_replaced(details: dict[str, Any]) -> None:
    details["NetworkSettings"]["Networks"] = {"bridge": {}}
    assert find_drift(OLD) == "containerId"
    details["Name"] = "/other"
    assert find_drift(OLD) == "containerName"


@pytest.mark.parametrize(("ok", "expected"), [(False, "containerId"), (True, "")])
def test_what_is_unhealthy_is_asked_once_more_and_replaced_where_it_still_is(
    details: dict[str, Any], monkeypatch: pytest.MonkeyPatch, ok: bool, expected: str
) -> None:
    details["State"]["Health"]["Status"] = "unhealthy"
    monkeypatch.setattr(engine, "probe", lambda *_: engine.ProbeResult(ok, ""))
    assert find_drift(OLD) == expected


def test_what_the_engine_would_not_bring_back_is_put_right(details: dict[str, Any]) -> None:
    details["HostConfig"]["RestartPolicy"]["Name"] = "unless-stopped"
    assert find_drift(OLD) == RESTART_POLICY_DRIFT
