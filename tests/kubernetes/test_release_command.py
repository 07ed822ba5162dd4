"""A release command on a real cluster: a Job with the service's secrets, before its pods, of which nothing is left."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from tests.e2e.workspace import Workspace, ended, read_until, wait_until
from tests.kubernetes.everyday import HERE, NAMESPACE
from tests.kubernetes.world import Cluster

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

KIND = 'kind = "python-api"\n'
RUNS, DONE = "release command running", "release command done"
FAILS = "import sys; print('applying 0007'); sys.exit('no such column')"


def release(workspace: Workspace, program: str) -> None:
    """Give the API a release command: a Python program."""
    workspace.edit("services/api/service.toml", KIND, f'{KIND}release = ["python", "-c", "{program}"]\n')


def new_image(workspace: Workspace, number: int) -> None:
    workspace.edit("services/api/app/main.py", '"anchor", 12', f'"anchor", {number}')


def jobs(cluster: Cluster) -> list[str]:
    found = cluster.get("jobs,pods", "--namespace", NAMESPACE, "--selector", "slipway.release")
    return [each["metadata"]["name"] for each in found["items"] if "deletionTimestamp" not in each["metadata"]]


def serving(cluster: Cluster) -> list[str]:
    return sorted(each["metadata"]["uid"] for each in cluster.pods(NAMESPACE, "app.kubernetes.io/name=api"))


@pytest.fixture
def stack(live: Workspace, cluster: Cluster) -> Iterator[Workspace]:
    """The stack as it was committed, and nothing left of a release command."""
    live.restore()
    live.up(*HERE, "--yes")
    yield live
    live.restore()
    live.up(*HERE, "--yes")
    wait_until(lambda: jobs(cluster) == [], "nothing is left of a release command")


def test_it_runs_once_for_each_image_and_its_settings_do_not_run_it(stack: Workspace, cluster: Cluster) -> None:
    release(stack, "print(1)")
    ran = stack.invoke("up", *HERE)
    assert ran.code == 0 and DONE in ran.output, ran.output
    wait_until(lambda: jobs(cluster) == [], "its Job is gone")
    stack.env("api", "LEVEL", "debug")
    ran = stack.invoke("up", *HERE)
    assert ran.code == 0 and RUNS not in ran.output, ran.output
    new_image(stack, 13)
    ran = stack.invoke("up", *HERE)
    assert ran.code == 0 and DONE in ran.output, ran.output
    back = stack.invoke("rollback", *HERE, "--yes")
    assert back.code == 0 and RUNS not in back.output, back.output
    again = stack.invoke("up", *HERE, "--yes")
    assert again.code == 0 and RUNS not in again.output, again.output


def test_one_that_fails_leaves_the_old_pods_serving(stack: Workspace, cluster: Cluster) -> None:
    before = serving(cluster)
    release(stack, FAILS)
    new_image(stack, 13)
    ran = stack.invoke("up", *HERE)
    assert ran.code == 1, ran.output
    assert "its release command failed (exit code 1)" in ran.output and "no such column" in ran.output
    assert "applying 0007" in ran.log().read_text(encoding="utf-8")
    wait_until(lambda: jobs(cluster) == [], "its Job is gone")
    assert serving(cluster) == before
    assert stack.invoke("releases", *HERE, "--json").json()[0]["result"] == "failed"


def test_ctrl_c_removes_it(stack: Workspace, cluster: Cluster) -> None:
    release(stack, "import time; time.sleep(600)")
    child = stack.start("up", *HERE)
    read_until(child, lambda line: RUNS in line)
    wait_until(lambda: jobs(cluster), "its Job is there")
    child.send_signal(signal.SIGINT)
    assert ended(child).code == 130
    wait_until(lambda: jobs(cluster) == [], "its Job is gone")
