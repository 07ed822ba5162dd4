"""The verbs that only look: useful, plain when nobody watches, and JSON for programs."""

from __future__ import annotations

import json

import pytest
from tests.e2e.workspace import Workspace

from slipway.tasks import verbs

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]


def test_status_shows_each_service_and_the_gateway(deployed: Workspace) -> None:
    rows = deployed.invoke("status", "--json").json()
    assert [row["service"] for row in rows] == ["api", "web", "worker", "gateway"]
    assert not any(row["drift"] for row in rows)
    assert {row["state"] for row in rows} <= {"healthy", "running", "starting"}
    shown = deployed.invoke("status")
    assert shown.code == 0
    assert all(shown.line(f"{row['service']} ") for row in rows)


def test_a_stack_in_which_nothing_runs_says_so(workspace: Workspace) -> None:
    ran = workspace.invoke("status", "--stack", "prod")
    assert ran.code == 0, ran.output
    assert "Nothing runs in prod" in ran.output and "invoke deploy --stack prod" in ran.output
    assert workspace.invoke("status", "--stack", "prod", "--json").json() == []


def test_logs_shows_what_a_service_and_its_build_said(deployed: Workspace) -> None:
    ran = deployed.invoke("logs", "worker", "--tail", "3")
    assert ran.code == 0, ran.output
    assert 1 <= len(ran.output.splitlines()) <= 3
    assert json.loads(ran.output.splitlines()[-1])["logger"] == "worker"
    gateway = deployed.invoke("logs", "gateway")
    assert gateway.code == 0, gateway.output
    assert deployed.invoke("build", "--local", "api").code == 0  # its image may be of the registry, from another run
    build = deployed.invoke("logs", "api", "--build")
    assert build.code == 0, build.output
    unknown = deployed.invoke("logs", "nothing")
    assert unknown.code == 2 and "api, web, worker" in unknown.output


def test_doctor_finds_everything_well_and_says_so_to_programs_too(deployed: Workspace) -> None:
    facts = json.loads(deployed.invoke("doctor", "--json").stdout)
    assert {"Python", "Docker engine", "BuildKit", "registry", "gateway port"} <= {fact["name"] for fact in facts}
    # What tools that are built at this moment leave in the caches is the machine's, and is told.
    assert all(fact["ok"] for fact in facts if fact["name"] != "caches"), facts
    shown = deployed.invoke("doctor")
    assert shown.code == (0 if all(fact["ok"] for fact in facts) else 1) and "Docker engine" in shown.output


def test_a_preview_after_a_change_shows_it_and_does_nothing(deployed: Workspace) -> None:
    before = deployed.ids()
    deployed.edit("services/worker/service.toml", 'INTERVAL_SECONDS = "5"', 'INTERVAL_SECONDS = "7"')
    for words in (("preview",), ("up", "--dry"), ("deploy", "--dry")):
        ran = deployed.invoke(*words)
        assert ran.code == 0, ran.output
        assert "INTERVAL_SECONDS" in ran.output and "1 to replace" in ran.output
    assert deployed.ids() == before


def test_every_verb_explains_itself(workspace: Workspace) -> None:
    listed = workspace.invoke("--list")
    assert listed.code == 0
    for name in verbs(workspace.root).task_names:
        assert f"  {name} " in listed.output, name
        shown = workspace.invoke(name, "--help")
        assert shown.code == 0, shown.output
        assert "Docstring:" in shown.output and "none" not in shown.output.split("Options:")[0]
