"""Services come and go by their folders alone, and each stack stands for itself."""

from __future__ import annotations

import shutil

import pytest
from tests.e2e.conftest import NAME
from tests.e2e.workspace import Workspace

from slipway._internal.run import engine
from slipway._internal.scaffold.service_creation import list_kinds

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

NEW = {"python-api": "orders", "node-web": "shop", "worker": "clerk"}


def test_a_new_service_of_each_kind_is_tested_and_deployed_and_leaves_with_its_folder(deployed: Workspace) -> None:
    before = deployed.ids()
    assert set(list_kinds()) == set(NEW)
    for kind, name in NEW.items():
        ran = deployed.invoke("new", name, "--kind", kind)
        assert ran.code == 0, ran.output
    assert deployed.git("status", "--porcelain").split() == [
        word for name in sorted(NEW.values()) for word in ("??", f"services/{name}/")
    ]

    tested = deployed.invoke("test", ",".join(NEW.values()))
    assert tested.code == 0, tested.output
    rows = {row["service"]: row for row in deployed.up()["rows"]}
    assert rows["clerk"]["health"] == "healthy"
    assert rows["orders"]["url"] == f"http://127.0.0.1:{deployed.port}/orders"
    assert deployed.get("/orders/items")[0] == 200
    assert deployed.get("/shop")[0] == 200
    after = deployed.ids()
    assert {service: after[service] for service in before} == before
    assert set(after) == {*before, *NEW.values()}

    for name in NEW.values():
        shutil.rmtree(deployed.root / "services" / name)
    deployed.up()
    assert deployed.ids() == before


@pytest.mark.parametrize("name", ["api", "Orders", "or_ders", "-x", "gateway", "../x", "o" * 41, ""])
def test_a_name_that_cannot_be_used_is_refused(workspace: Workspace, name: str) -> None:
    ran = workspace.invoke("new", f"--name={name}")
    assert ran.code == 2, ran.output
    assert "remedy" in ran.output
    assert workspace.git("status", "--porcelain") == ""


def test_an_unknown_kind_is_refused_with_those_that_there_are(workspace: Workspace) -> None:
    ran = workspace.invoke("new", "orders", "--kind", "cobol")
    assert ran.code == 2, ran.output
    assert all(kind in ran.output for kind in list_kinds())


def test_a_second_stack_runs_beside_the_first_and_down_removes_all_of_it_and_no_more(deployed: Workspace) -> None:
    before = deployed.ids()
    said = deployed.up("--stack", "staging", SLIPWAY_IMAGES="inline")
    assert all(f":{deployed.port + 1}/" in row["url"] for row in said["rows"] if row["url"])
    assert set(deployed.containers("staging")) == set(before)

    dry = deployed.invoke("down", "--stack", "staging", "--dry")
    assert dry.code == 0, dry.output
    assert set(deployed.containers("staging")) == set(before)

    ran = deployed.invoke("down", "--stack", "staging", "--yes")
    assert ran.code == 0, ran.output
    assert deployed.containers("staging") == {}
    names = [network["Name"] for network in engine.client().api.networks()]
    assert f"{NAME}-dev" in names and f"{NAME}-staging" not in names
    assert deployed.ids() == before
    again = deployed.invoke("down", "--stack", "staging", "--yes")
    assert again.code == 0 and "nothing was running" in again.output
