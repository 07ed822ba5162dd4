"""What `invoke ai usage` asks the gateway's own program for, and which service that is."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.unit.tasks.conftest import Flows, ended_with

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import load_workspace
from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.release import model_usage
from slipway._internal.tasks import ai as verbs


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ({}, ["--table"]),
        ({"json": True}, ["--json"]),
        ({"csv": True, "by": "tenant, model"}, ["--csv", "--by=tenant,model"]),
        ({"from_": "2026-12-01", "to": "2026-12-31"}, ["--table", "--from=2026-12-01", "--to=2026-12-31"]),
    ],
)
def test_the_gateways_own_program_is_asked_and_its_exit_code_is_the_verbs(
    flows: Flows, words: dict[str, Any], command: list[str]
) -> None:
    flows.replace(model_usage, "show_usage", 7)
    ended_with(7, verbs.ai, action="usage", stack="staging", service="ai", **words)
    assert flows.args("show_usage")[1:] == ("staging", "ai", ["python", "-m", "app.usage", *command])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"action": "cost"}, "unknown action 'cost'"),
        ({"json": True, "csv": True}, "cannot be used together"),
        ({"by": "tenant,moon"}, "--by has no moon"),
        ({"from_": "yesterday"}, "--from 'yesterday' is not a day"),
        ({"to": "2026-13-01"}, "--to '2026-13-01' is not a day"),
        ({}, "no service is of kind ai-gateway"),
        ({"service": "service-000"}, "service-000 is no ai-gateway"),
    ],
)
def test_what_is_wrong_is_named(
    flows: Flows, capsys: pytest.CaptureFixture[str], words: dict[str, Any], said: str
) -> None:
    ended_with(2, verbs.ai, **{"action": "usage", **words})
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_one_gateway_is_found_and_of_several_one_is_named(flows: Flows) -> None:
    for name in ("service-000", "service-001"):
        file = workspace_root() / "services" / name / "service.toml"
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r'kind = "[^"]+"', f'kind = "{model_usage.KIND}"', text), encoding="utf-8")
        assert model_usage.gateway_name(load_workspace(workspace_root()), name) == name
        if name == "service-000":
            assert model_usage.gateway_name(load_workspace(workspace_root()), None) == name
    with pytest.raises(ConfigError, match="several"):
        model_usage.gateway_name(load_workspace(workspace_root()), None)
