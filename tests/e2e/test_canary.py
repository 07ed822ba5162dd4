"""A new version gets a share of a service's requests, then all or none, and none of them fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.callers import Seen, calling
from tests.e2e.conftest import First
from tests.e2e.workspace import Ran, Workspace, kill, processes_gone, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

PATH = "/api/items"
MAIN = "services/api/app/main.py"
OLD, NEW, NEXT = '"stock":12', '"stock":13', '"stock":14'


@pytest.fixture(scope="module")
def stack(first: First) -> Iterator[Workspace]:
    """The dev stack as it was committed; afterwards as well, for those who come next."""
    workspace = first.workspace
    reset(workspace)
    workspace.up("--yes")
    yield workspace
    workspace.restore()
    workspace.up("--yes")
    first.ids = workspace.ids()


def reset(workspace: Workspace) -> None:
    """Put the files back as they were committed; on a busy machine a start may take longer than a minute."""
    workspace.restore()
    workspace.edit("services/api/service.toml", 'kind = "python-api"\n', 'kind = "python-api"\nstart-timeout = 240\n')


def canary(workspace: Workspace, *words: str) -> Ran:
    ran = workspace.invoke("canary", *words)
    assert ran.code == 0, ran.output
    return ran


def under_way(workspace: Workspace) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = workspace.invoke("canary", "--json").json()["canaries"]
    return found


def both_answer(seen: Seen, old: str, new: str) -> None:
    """Wait until both versions have answered again."""
    before = seen.count(old), seen.count(new)
    wait_until(lambda: seen.count(old) > before[0] and seen.count(new) > before[1], "both versions answer")


def only_answers(workspace: Workspace, version: str) -> None:
    for _ in range(40):
        status, text = workspace.get(PATH)
        assert status == 200 and version in text, text


def test_a_canary_gets_a_share_then_more_then_all(stack: Workspace) -> None:
    before = stack.ids()
    stack.edit(MAIN, '"anchor", 12', '"anchor", 13')
    with calling(stack.port, PATH) as seen:
        assert "10 % of requests go to" in canary(stack, "api", "10", "--dry").output
        assert stack.ids() == before
        assert "invoke canary api" in canary(stack, "api", "10").output
        begun = stack.ids()
        assert {name: begun[name] for name in before} == before and begun.keys() - before.keys() == {"api.canary"}
        both_answer(seen, OLD, NEW)
        [shown] = under_way(stack)
        assert (shown["service"], shown["percent"]) == ("api", 10) and shown["image"] != shown["stable_image"]
        rows = {row["service"]: row["drift"] for row in stack.invoke("status", "--json").json()}
        assert rows["api"] == "" and "gets 10 % of requests" in rows["api.canary"]
        assert "90 % api, 10 % its canary" in stack.invoke("routes").output

        refused = [stack.invoke(*verb, "--yes") for verb in (("up",), ("rollback",), ("deploy", "--dry"))]
        assert [ran.code for ran in refused] == [5, 5, 5], [ran.output for ran in refused]
        assert all("--promote" in ran.output and "--abort" in ran.output for ran in refused)
        plain = stack.pulumi("up", "--yes", "--stack", "dev")
        assert plain.code and "canary under way" in plain.output, plain.output

        stack.env("api", "COLOUR", "blue")  # it waits for the promotion: a step changes weights alone
        stack.edit(MAIN, '"anchor", 13', '"anchor", 99')
        canary(stack, "api", "50")
        assert stack.ids() == begun and under_way(stack)[0]["percent"] == 50
        both_answer(seen, OLD, NEW)
        assert stack.invoke("maintenance", "on", "--service", "api").code == 0
        assert stack.get(PATH)[0] == 503
        assert stack.invoke("maintenance", "off", "--service", "api").code == 0
        seen.failures[:] = [failure for failure in seen.failures if ": 503 " not in failure]

        canary(stack, "api", "--promote")
        only_answers(stack, NEW)
    assert seen.failures == [] and seen.count('"stock":99') == 0
    after = stack.ids()
    assert after.keys() == before.keys() and after["api"] not in (before["api"], begun["api.canary"])
    assert {name: after[name] for name in before if name != "api"} == {
        name: before[name] for name in before if name != "api"
    }
    assert under_way(stack) == []
    steps = stack.invoke("canary", "--json").json()["steps"]
    assert [(step["result"], step["percent"]) for step in steps[:3]] == [("promoted", 0), ("share", 50), ("share", 10)]
    assert all(step["actor"] and step["image"] == shown["image"] for step in steps[:3])
    [live] = [found for found in stack.invoke("releases", "--json").json() if found["result"] == "live"]
    assert live["digests"]["api"] == shown["image"]


def test_a_canary_whose_verb_is_killed_begins_again_and_one_that_is_aborted_is_gone(stack: Workspace) -> None:
    reset(stack)
    stack.edit(MAIN, '"anchor", 12', '"anchor", 13')
    before = stack.ids()
    stack.edit(MAIN, '"anchor", 13', '"anchor", 14')
    with calling(stack.port, PATH) as seen:
        verb = stack.start("canary", "api", "30", "--yes")
        wait_until(lambda: "api.canary" in {*stack.ids()}, "its container is there")
        processes_gone(kill(verb))
        refused = stack.invoke("up", "--yes")
        assert refused.code == 5 and "canary under way" in refused.output, refused.output
        canary(stack, "api", "30", "--yes")
        assert stack.ids().keys() - before.keys() == {"api.canary"}
        both_answer(seen, NEW, NEXT)
        canary(stack, "api", "--abort")
        only_answers(stack, NEW)
    assert seen.failures == []
    assert stack.ids() == before and under_way(stack) == []
    assert stack.invoke("canary", "api", "--abort").code == 2


def test_a_canary_that_never_becomes_healthy_gets_no_request_and_leaves_nothing(stack: Workspace) -> None:
    before = stack.ids()
    main = stack.root / MAIN
    main.write_text(f"{main.read_text(encoding='utf-8')}\nraise SystemExit('there is no database')\n", encoding="utf-8")
    with calling(stack.port, PATH) as seen:
        failed = stack.invoke("canary", "api", "10")
        assert failed.code == 1 and "there is no database" in failed.output, failed.output
        only_answers(stack, NEW)
    assert seen.failures == [] and seen.count(NEXT) == 0
    assert stack.ids() == before and under_way(stack) == []
