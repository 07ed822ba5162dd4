"""A release command runs once for each new image, before it serves; what ran before serves on if it fails."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import First
from tests.e2e.workspace import Workspace, ended, read_until

from slipway._internal.run import engine

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

KIND = 'kind = "python-api"\n'
RUNS, DONE = "release command running", "release command done"
ASK = "import os, urllib.request as r; print('level', os.environ['LEVEL'], os.getuid(), os.listdir('/tmp'))"
FAILS = "import sys; print('applying 0007'); sys.exit('no such column')"
SLOW = "import time; print('here', flush=True); time.sleep({})"


def release(workspace: Workspace, program: str) -> None:
    """Give the API a release command: a Python program."""
    workspace.edit("services/api/service.toml", KIND, f'{KIND}release = ["python", "-c", "{program}"]\n')


def new_image(workspace: Workspace, number: int) -> None:
    """Change the API's sources."""
    workspace.edit("services/api/app/main.py", '"anchor", 12', f'"anchor", {number}')


def commands(workspace: Workspace) -> list[str]:
    """Return the containers that the engine has for release commands."""
    labels = [*engine.label_filters(workspace.root.name, "dev"), engine.RELEASE_LABEL]
    return [each["Id"] for each in engine.client().api.containers(all=True, filters={"label": labels})]


@pytest.fixture
def stack(first: First, deployed: Workspace) -> Iterator[Workspace]:
    """The stack as it was committed, and nothing left of a release command, in the state either."""
    yield deployed
    deployed.restore()
    deployed.up("--yes")
    first.ids = deployed.ids()
    assert commands(deployed) == []


def test_it_runs_once_for_each_image_with_the_services_environment_and_is_shown_before(stack: Workspace) -> None:
    stack.env("api", "LEVEL", "info")
    release(stack, ASK)
    shown = stack.invoke("preview")
    assert "slipway:docker:ReleaseCommand: (create)" in shown.output, shown.output
    before = stack.ids()["api"]
    ran = stack.invoke("up")
    assert ran.code == 0 and f"api          {DONE}" in ran.output, ran.output
    assert ran.output.index(DONE) < ran.output.index("api          starting")
    assert stack.ids()["api"] != before

    stack.edit("services/api/service.toml", 'LEVEL = "info"', 'LEVEL = "debug"')
    ran = stack.invoke("up")
    assert ran.code == 0 and RUNS not in ran.output, ran.output
    new_image(stack, 13)
    ran = stack.invoke("up")
    assert ran.code == 0 and DONE in ran.output, ran.output


def test_one_that_fails_leaves_the_old_version_serving_and_the_release_failed(stack: Workspace) -> None:
    before = stack.ids()
    release(stack, FAILS)
    new_image(stack, 13)
    for _ in range(2):  # it is tried again each time
        ran = stack.invoke("up")
        assert ran.code == 1, ran.output
        assert "its release command failed (exit code 1)" in ran.output
        assert "no such column" in ran.output
        assert "applying 0007" in ran.log().read_text(encoding="utf-8")
        assert stack.ids() == before and commands(stack) == []
        assert '"stock":12' in stack.get("/api/items")[1]
    assert stack.invoke("releases", "--json").json()[0]["result"] == "failed"


def test_a_rollback_runs_none_and_the_newer_image_after_it_neither(stack: Workspace) -> None:
    release(stack, "print(1)")
    assert DONE in stack.invoke("up").output
    new_image(stack, 13)
    assert DONE in stack.invoke("up").output
    back = stack.invoke("rollback", "--yes")
    assert back.code == 0 and RUNS not in back.output, back.output
    assert "runs no release command (api)" in back.output
    again = stack.invoke("up", "--yes")
    assert again.code == 0 and RUNS not in again.output, again.output


def test_ctrl_c_ends_it_with_all_that_was_made_for_it(stack: Workspace) -> None:
    before = stack.ids()
    release(stack, SLOW.format(600))
    child = stack.start("up")
    read_until(child, lambda line: RUNS in line)
    while not commands(stack):
        pass
    child.send_signal(signal.SIGINT)
    ran = ended(child)
    assert ran.code == 130, ran.output
    assert commands(stack) == [] and stack.ids() == before


def test_of_two_deploys_at_once_one_runs_it(stack: Workspace) -> None:
    release(stack, SLOW.format(5))
    one = stack.start("up")
    said = read_until(one, lambda line: RUNS in line)
    other = stack.invoke("up")
    assert other.code == 5 and RUNS not in other.output, other.output
    ran = ended(one, said)
    assert ran.code == 0 and DONE in ran.output, ran.output
