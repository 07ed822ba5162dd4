"""Maintenance is begun and ended at the gateway that runs, of one service or of all, and seen by status."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.fake_engine import FakeContainer, FakeEngine
from tests.unit.targets.docker.test_observation import STACK, Stage, stage

from slipway._internal.commands.envoy import Route, parse_config, render_config
from slipway._internal.commands.envoy_listener import CONFIG_DIR
from slipway._internal.commands.gateway_options import MaintenanceOptions
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import load_workspace
from slipway._internal.release.maintenance import switch_maintenance
from slipway._internal.rollout import envoy

__all__ = ["stage"]
ONE, TWO = "service-000", "service-001"


class Serving(Stage):
    """A stack whose gateway serves two services."""

    gateway: FakeContainer

    def switch(self, on: bool, service: str = "") -> MaintenanceOptions | None:
        workspace = load_workspace(self.root)
        found = switch_maintenance(workspace, STACK, service, on=on, retry_after=60)
        assert parse_config(envoy.read_live_config(self.gateway)).options.maintenance == found
        return found

    def put(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            self.gateway.files[f"{CONFIG_DIR}/{name}"] = (text.encode(), 0o444)


@pytest.fixture
def serving(stage: Stage, docker: FakeEngine) -> Serving:
    stage.__class__ = Serving
    assert isinstance(stage, Serving)
    stage.add_all()
    [stage.gateway] = [each for each in docker.all.values() if each.name == "many-dev-gateway"]
    stage.put(render_config([Route(ONE, "/a", "a:1"), Route(TWO, "/b", "b:1")]))
    return stage


def test_all_services_are_in_maintenance_until_it_ends(serving: Serving) -> None:
    assert serving.switch(True) == MaintenanceOptions(retry_after=60)
    assert serving.status() == {
        ONE: ("running", ""),
        TWO: ("running", ""),
        "gateway": ("running", "in maintenance: `invoke maintenance off --stack dev` ends it"),
    }
    assert serving.switch(False) is None
    assert serving.status()["gateway"] == ("running", "")
    assert serving.switch(False) is None


def test_one_after_the_other_begins_and_ends(serving: Serving) -> None:
    assert serving.switch(True, TWO) == MaintenanceOptions((TWO,), retry_after=60)
    assert serving.switch(True, ONE) == MaintenanceOptions((ONE, TWO), retry_after=60)
    end = f"in maintenance: `invoke maintenance off --stack dev --service {ONE}` ends it"
    assert serving.status()[ONE] == ("running", end)
    assert serving.switch(False, TWO) == MaintenanceOptions((ONE,), retry_after=60)
    assert serving.switch(True) == MaintenanceOptions(retry_after=60)
    assert serving.switch(True, ONE) == MaintenanceOptions(retry_after=60)  # as all are
    with pytest.raises(ConfigError, match="cannot end for one"):
        serving.switch(False, ONE)
    assert serving.switch(False) is None
    assert serving.switch(True, ONE) and serving.switch(False, ONE) is None


def test_the_workspaces_own_page_is_shown_unless_it_is_too_large(serving: Serving) -> None:
    page = serving.root / "deploy" / "maintenance.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text("<h1>Soon</h1>")
    assert serving.switch(True) == MaintenanceOptions(page="<h1>Soon</h1>", retry_after=60)
    page.write_text("x" * 65537)
    with pytest.raises(ConfigError, match=r"maintenance\.html has 65537 bytes"):
        serving.switch(True)


def test_where_there_is_nothing_to_answer_for_it_is_refused(serving: Serving) -> None:
    workspace = load_workspace(serving.root)
    with pytest.raises(ConfigError, match="runs on kubernetes"):
        switch_maintenance(workspace, replace(STACK, target="kubernetes"), "", on=True, retry_after=60)
    with pytest.raises(ConfigError, match="no service `other`"):
        serving.switch(True, "other")
    file = serving.root / "services" / ONE / "service.toml"
    file.write_text("\n".join(line for line in file.read_text().splitlines() if not line.startswith("route")))
    with pytest.raises(ConfigError, match="has no route"):
        serving.switch(True, ONE)
    serving.gateway.end(1)
    with pytest.raises(ConfigError, match="the gateway of dev does not run") as caught:
        serving.switch(True)
    assert "invoke up" in caught.value.remedy
