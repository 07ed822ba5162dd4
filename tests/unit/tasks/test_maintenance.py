"""The verb that begins and ends maintenance."""

from __future__ import annotations

import pytest
from tests.unit.tasks.conftest import Flows, ended_with

from slipway._internal.commands.gateway_options import MaintenanceOptions
from slipway._internal.release import maintenance as flow
from slipway._internal.tasks import maintenance


def test_it_says_what_is_answered_now_and_how_it_ends(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(flow, "switch_maintenance", MaintenanceOptions(services=("service-000",)))
    ended_with(0, maintenance.maintenance, "on", service="service-000", retry_after=60)
    assert flows.options("switch_maintenance") == {"on": True, "retry_after": 60}
    said = " ".join(capsys.readouterr().out.split())
    assert "service-000 in dev: the gateway answers 503" in said and "invoke maintenance off --stack dev" in said


def test_of_a_protected_stack_it_asks(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(flow, "switch_maintenance")
    ended_with(2, maintenance.maintenance, "off", stack="prod")
    assert "nobody confirmed" in capsys.readouterr().err and not flows.calls.get("switch_maintenance")
    ended_with(0, maintenance.maintenance, "off", stack="prod", yes=True)
    assert "services answer" in capsys.readouterr().out


@pytest.mark.parametrize(("action", "seconds"), [("up", 300), ("", 300), ("on", 0), ("on", 86401)])
def test_what_is_no_action_and_no_time_is_refused(flows: Flows, action: str, seconds: int) -> None:
    flows.replace(flow, "switch_maintenance")
    ended_with(2, maintenance.maintenance, action, retry_after=seconds)
    assert not flows.calls.get("switch_maintenance")
