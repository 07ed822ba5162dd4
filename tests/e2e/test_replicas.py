"""Several containers of one service behind the gateway: none fewer in a deploy, and one that dies costs no request."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import CHECKED, CHECKED_SELDOM, First
from tests.e2e.workspace import Workspace, wait_until

from slipway._internal.run import engine

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

NAMES = ["api", "api.2", "api.3"]


@pytest.fixture(scope="module")
def three(first: First) -> Iterator[Workspace]:
    """The stack with three containers of the API."""
    workspace = first.workspace
    workspace.restore()
    settings = workspace.root / "services" / "api" / "service.toml"
    settings.write_text(f"{settings.read_text(encoding='utf-8')}\n[scale]\nmin = 3\n", encoding="utf-8")
    workspace.edit("services/api/Dockerfile", CHECKED_SELDOM, CHECKED)
    workspace.up("--yes")
    yield workspace
    workspace.restore()
    workspace.up("--yes")
    assert "api.2" not in workspace.ids()
    first.ids = workspace.ids()


class Caller(threading.Thread):
    """Requests the API all the time, and keeps what was no answer of its own."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(daemon=True)
        self._workspace, self._over = workspace, threading.Event()
        self.wrong: list[tuple[int, str]] = []
        self.count, self.slowest = 0, 0.0

    def run(self) -> None:
        while not self._over.is_set():
            begun = time.monotonic()
            status, text = self._workspace.get("/api/items")
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.count += 1
            if status != 200:
                self.wrong.append((status, text))

    def __enter__(self) -> Caller:
        self.start()
        return self

    def __exit__(self, *_problem: object) -> None:
        self._over.set()
        self.join()


def running(workspace: Workspace) -> list[str]:
    return [each.id for each in engine.list_containers(workspace.root.name, "dev") if each.service == "api"]


def row(workspace: Workspace) -> dict[str, object]:
    (found,) = [row for row in workspace.invoke("status", "--json").json() if row["service"] == "api"]
    return dict(found)


def found_healthy(workspace: Workspace) -> None:
    """Wait until the engine itself has found all of them healthy, and `status` says so."""

    def verdicts() -> list[str]:
        return [each.health for each in engine.list_containers(workspace.root.name, "dev") if each.service == "api"]

    wait_until(lambda: verdicts() == ["healthy"] * len(NAMES), "the engine has found all of them healthy")
    assert row(workspace)["ready"] == len(NAMES)


def test_all_of_them_answer_and_are_seen(three: Workspace) -> None:
    assert sorted(name for name in three.ids() if name.startswith("api")) == NAMES
    found_healthy(three)
    found = row(three)
    assert (found["state"], found["replicas"], found["drift"]) == ("healthy", 3, "")
    assert "healthy (3 of 3)" in three.invoke("status").output
    for _ in range(30):
        assert three.get("/api/items")[0] == 200
    asked = [line for line in three.invoke("logs", "gateway", "--tail", "30").output.splitlines() if "/items" in line]
    assert len({found[1] for line in asked if (found := re.search(r'"upstream":"([\d.]+):', line))}) == 3, asked
    log = three.invoke("logs", "api", "--tail", "5").output.splitlines()
    assert {line.partition(" ")[0] for line in log} == {f"[{name}]" for name in NAMES}
    assert three.invoke("exec", "api", "--", "python", "-c", "print(6 * 7)").stdout == "42\n"
    assert three.invoke("up", "--json").json()["changed"] is False


def test_a_deploy_replaces_all_and_loses_no_request(three: Workspace) -> None:
    before = three.ids()
    three.edit("services/api/app/main.py", '"anchor", 12', '"anchor", 13')
    fewest = [len(NAMES)]
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            fewest.append(len(running(three)))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with Caller(three) as caller:
        three.up("--yes")
    over.set()
    watcher.join()
    assert caller.wrong == [] and caller.count > 20
    assert min(fewest) >= 3
    after = three.ids()
    assert all(after[name] != before[name] for name in NAMES)
    assert '"stock":13' in three.get("/api/items")[1]


def test_one_that_is_killed_costs_no_request_and_a_deploy_brings_it_back(three: Workspace) -> None:
    ids = three.ids()
    with Caller(three) as caller:
        time.sleep(1)
        engine.client().containers.get(ids["api.2"]).kill()
        time.sleep(6)
    assert caller.wrong == [] and caller.count > 20, caller.wrong
    assert caller.slowest < 10
    found = row(three)
    assert (found["ready"], found["replicas"]) == (2, 3) and "api.2: it is exited" in str(found["drift"])
    three.up("--yes")
    after = three.ids()
    assert (after["api"], after["api.3"]) == (ids["api"], ids["api.3"]) and after["api.2"] != ids["api.2"]
    found_healthy(three)


def test_the_first_whose_name_they_share_may_die_too(three: Workspace) -> None:
    ids = three.ids()
    with Caller(three) as caller:
        engine.client().containers.get(ids["api"]).kill()
        time.sleep(6)
        three.up("--yes")
    assert caller.wrong == [] and caller.count > 20, caller.wrong
    after = three.ids()
    assert all(after[name] != ids[name] for name in NAMES)
    found_healthy(three)


def test_one_that_crashes_comes_back_by_itself(three: Workspace) -> None:
    container = engine.client().containers.get(three.ids()["api.3"])
    with Caller(three) as caller:
        container.exec_run(["python", "-c", "import os, signal; os.kill(1, signal.SIGTERM)"])
        wait_until(lambda: row(three)["ready"] == 3, "it is back")
    assert caller.wrong == [], caller.wrong


def test_fewer_and_more_are_a_setting(three: Workspace) -> None:
    ids = three.ids()
    three.edit("services/api/service.toml", "min = 3", "min = 2")
    with Caller(three) as caller:
        three.up("--yes")
        assert {name for name in three.ids() if name.startswith("api")} == {"api", "api.2"}
        assert three.ids()["api"] == ids["api"]
        three.edit("services/api/service.toml", "min = 2", "min = 3")
        three.up("--yes")
    assert caller.wrong == [], caller.wrong
    assert three.ids()["api"] == ids["api"]
