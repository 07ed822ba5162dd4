"""`invoke up` from nothing, again, after a change, and after one that does not work."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.e2e.callers import calling
from tests.e2e.conftest import NAME, First
from tests.e2e.workspace import Workspace

from slipway._internal.run import engine

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]


def test_the_first_up_prints_a_table_of_what_runs(first: First) -> None:
    url = f"http://127.0.0.1:{first.workspace.port}"
    rows = {line.split()[0]: line.split()[1:] for line in first.ran.stdout.splitlines() if "sha256:" in line}
    assert rows["api"][1:] == [f"{url}/api", "200", "OK"]
    assert rows["web"][1:] == [f"{url}/", "200", "OK"]
    assert rows["worker"][1:] == ["-", "healthy"]
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", row[0]) for row in rows.values())
    assert "is deployed" in first.ran.output


def test_every_url_answers_and_the_page_shows_what_the_api_has(deployed: Workspace) -> None:
    status, text = deployed.get("/api/items")
    items = json.loads(text)
    assert status == 200 and items
    status, page = deployed.get("/")
    assert status == 200
    assert all(item["name"] in page for item in items)
    assert deployed.get("/api/no-such-thing")[0] == 404


def test_another_up_changes_nothing_and_says_so(deployed: Workspace) -> None:
    before = deployed.ids()
    ran = deployed.invoke("up")
    assert ran.code == 0, ran.output
    assert "Nothing changed" in ran.output
    assert deployed.ids() == before
    assert not deployed.up()["changed"]


def test_what_a_container_may_do_is_little(deployed: Workspace) -> None:
    all_of_them = inspected(deployed)
    for name, found in all_of_them.items():
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert found["Config"]["User"] == "65532:65532", name
        assert "@sha256:" in found["Config"]["Image"], name
    limits = {name: found["HostConfig"] for name, found in all_of_them.items()}
    shares = {name: host["CpuQuota"] / host["CpuPeriod"] for name, host in limits.items() if name != "gateway"}
    assert shares == {"api": 1.0, "web": 1.0, "worker": 0.5}, "from when it is healthy; its start is quicker without"
    assert limits["worker"]["Memory"] == 128 * 1024 * 1024


def inspected(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Return what the engine tells of each service's container."""
    return {name: engine.client().api.inspect_container(each.id) for name, each in workspace.containers().items()}


def test_a_change_of_the_api_replaces_its_container_alone_and_no_request_fails(deployed: Workspace) -> None:
    before = deployed.ids()
    deployed.edit("services/api/app/main.py", '"lantern"', '"sextant"')
    with calling(deployed.port, "/api/items", "/") as seen:
        said = deployed.up()
    assert said["changed"]
    assert seen.failures == []
    assert seen.count("lantern") and seen.count("sextant")
    after = deployed.ids()
    assert {service for service in before if before[service] != after[service]} == {"api"}
    assert "sextant" in deployed.get("/")[1]


def test_a_version_that_does_not_start_is_removed_and_the_old_one_still_serves(deployed: Workspace) -> None:
    before = deployed.ids()
    deployed.edit("services/api/app/main.py", "app = FastAPI(", 'raise RuntimeError("out of rope")\napp = FastAPI(')
    ran = deployed.invoke("up")
    assert ran.code == 1, ran.output
    assert "api" in ran.output and "out of rope" in ran.output
    assert "remedy" in ran.output
    assert "out of rope" in ran.log().read_text(encoding="utf-8")
    assert deployed.ids() == before
    assert deployed.get("/api/items")[0] == 200


@pytest.mark.parametrize("verb", ["up", "build"])
def test_a_failing_build_step_is_shown_with_its_lines_and_the_old_version_still_serves(
    deployed: Workspace, verb: str
) -> None:
    before = deployed.ids()
    step = 'RUN ["sh", "-c", "for n in 1 2 3; do echo splinter $n; done; exit 3"]'
    deployed.edit("services/api/Dockerfile", "COPY --chmod=u=rwX,go=rX requirements.txt ./", step)
    ran = deployed.invoke(verb)
    assert ran.code == 1, ran.output
    assert "api" in ran.output and "splinter 3" in ran.output
    assert "remedy" in ran.output
    assert ran.log().name == "api.build.log"
    assert "splinter 1" in ran.log().read_text(encoding="utf-8")
    assert deployed.ids() == before
    assert deployed.get("/api/items")[0] == 200


def test_a_build_step_that_cannot_reach_its_package_index_says_which(deployed: Workspace) -> None:
    before = deployed.ids()
    file = deployed.root / "services" / "worker" / "requirements.txt"
    file.write_text(f"{file.read_text(encoding='utf-8')}# so that the step runs again\n", encoding="utf-8")
    nowhere = "[global]\nindex-url = http://127.0.0.1:9/simple\nretries = 0\ntimeout = 2\n"
    ran = deployed.invoke("up", PIP_CONF=nowhere)
    assert ran.code == 1, ran.output
    assert "worker" in ran.output and "127.0.0.1:9" in ran.output.replace("host='127.0.0.1', port=9", "127.0.0.1:9")
    assert "remedy" in ran.output
    assert "127.0.0.1" in ran.log().read_text(encoding="utf-8")
    assert deployed.ids() == before


def test_a_failing_unit_test_fails_the_test_verb_with_its_lines(workspace: Workspace) -> None:
    with (workspace.root / "services" / "api" / "tests" / "test_api.py").open("a", encoding="utf-8") as file:
        file.write('\n\ndef test_the_anchor_holds() -> None:\n    assert "the anchor" == "holds"\n')
    ran = workspace.invoke("test", "api")
    assert ran.code == 3, ran.output
    assert "api" in ran.output and "test_the_anchor_holds" in ran.output
    assert "the anchor" in ran.log().read_text(encoding="utf-8")


def test_a_container_that_was_removed_by_hand_is_noticed_and_restored(deployed: Workspace) -> None:
    before = deployed.ids()
    engine.client().containers.get(before["worker"]).remove(force=True)
    rows = {row["service"]: row for row in deployed.invoke("status", "--json").json()}
    assert rows["worker"]["state"] == "missing" and rows["worker"]["drift"]
    assert rows["api"]["drift"] == ""
    deployed.up()
    after = deployed.ids()
    assert {service for service in before if before[service] != after[service]} == {"worker"}
    rows = deployed.invoke("status", "--json").json()
    assert not any(row["drift"] for row in rows)


def test_a_service_that_was_stopped_by_hand_is_noticed_and_restored(deployed: Workspace) -> None:
    engine.client().containers.get(deployed.ids()["api"]).stop(timeout=0)
    assert deployed.get("/api/items")[0] in (502, 504)
    status = deployed.invoke("status")
    assert status.code == 0 and "exited" in status.line("api ")
    deployed.up()
    assert deployed.get("/api/items")[0] == 200


def test_all_that_was_removed_by_hand_is_restored(deployed: Workspace) -> None:
    api = engine.client().api
    for each in deployed.containers().values():
        api.remove_container(each.id, force=True, v=True)
    api.remove_network(f"{NAME}-dev")
    status = deployed.invoke("status")
    assert status.code == 0 and "Nothing runs in dev" in status.output
    preview = deployed.invoke("preview")
    assert preview.code == 0, preview.output
    assert deployed.up()["healthy"]
    assert deployed.get("/")[0] == 200


def test_plain_pulumi_finds_nothing_to_change_after_it(deployed: Workspace) -> None:
    before = deployed.ids()
    for words in (("preview",), ("up", "--yes")):
        ran = deployed.pulumi(*words, "--stack", "dev", "--expect-no-changes")
        assert ran.code == 0, ran.output
    assert deployed.ids() == before
