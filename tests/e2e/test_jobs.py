"""A job on a Docker engine: its program starts at its times, one run at a time, and a run under way ends first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from tests.e2e.conftest import First
from tests.e2e.workspace import Workspace, ended, wait_until

from slipway._internal.run import engine

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

ENTRYPOINT = 'ENTRYPOINT ["/app/.venv/bin/python", "-m", "app"]'
PROGRAM = (
    "import os, signal, sys, time\n"
    "def end(*_): print('asked to end', flush=True); sys.exit(4)\n"
    "signal.signal(signal.SIGTERM, end)\n"
    "print('run', os.environ['HOW'], os.getuid(), os.getppid() > 0, flush=True)\n"
    "time.sleep(float(os.environ['LASTS']))\n"
    "sys.exit(int(os.environ['CODE']))\n"
)


@pytest.fixture(scope="module")
def job(first: First) -> Iterator[Workspace]:
    """The stack with a job `tick`, which runs each minute."""
    workspace = first.workspace
    workspace.restore()
    assert workspace.invoke("new", "tick", "--kind", "worker").code == 0
    (workspace.root / "services" / "tick" / "app" / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    settings = workspace.root / "services" / "tick" / "service.toml"
    text = settings.read_text(encoding="utf-8").replace(
        'INTERVAL_SECONDS = "5"', 'HOW = "well"\nLASTS = "1"\nCODE = "0"'
    )
    settings.write_text(f'{text}\n[job]\nschedule = "* * * * *"\n', encoding="utf-8")
    workspace.up("--yes")
    yield workspace
    workspace.restore()
    workspace.up("--yes")
    first.ids = workspace.ids()
    assert not any("tick" in each.name for each in engine.client().volumes.list())


def change(job: Workspace, old: str, new: str) -> None:
    job.edit("services/tick/service.toml", old, new)


def status(job: Workspace) -> dict[str, Any]:
    """Return the job's row of `invoke status`."""
    (row,) = [row for row in job.invoke("status", "--json").json() if row["service"] == "tick"]
    return dict(row)


def runs(job: Workspace) -> list[dict[str, Any]]:
    return [dict(run) for run in status(job)["runs"]]


def test_it_runs_at_its_times_and_its_log_and_result_can_be_seen(job: Workspace) -> None:
    row = status(job)
    assert (row["state"], row["drift"]) == ("scheduled", "")
    wait_until(lambda: [run["code"] for run in runs(job)][:1] == [0], "it has run")
    log = job.invoke("logs", "tick").output
    assert "run well 65532 True" in log and "ended after" in log
    assert "scheduled (the last run succeeded" in job.invoke("status").output
    assert job.invoke("run", "tick", "--", "python", "-c", "print(40 + 2)").stdout == "42\n"
    assert job.invoke("up", "--json").json()["changed"] is False


def test_one_that_fails_is_seen(job: Workspace) -> None:
    change(job, 'CODE = "0"', 'CODE = "3"')
    before = runs(job)
    job.up("--yes")
    assert runs(job)[-1] == before[-1], "a new container knows of the runs before"
    wait_until(lambda: [run["code"] for run in runs(job)][:1] == [3], "it has failed")
    assert status(job)["state"] == "failing"
    change(job, 'CODE = "3"', 'CODE = "0"')


def test_a_run_under_way_ends_before_its_container_goes_and_no_other_begins_meanwhile(job: Workspace) -> None:
    change(job, 'LASTS = "1"', 'LASTS = "75"')
    settings = job.root / "services" / "tick" / "service.toml"
    settings.write_text(f"drain = 120\n{settings.read_text(encoding='utf-8')}", encoding="utf-8")
    job.up("--yes")
    wait_until(lambda: [run["code"] for run in runs(job)][:1] == [None], "it runs")
    begun = runs(job)[0]["begin"]
    change(job, 'LASTS = "75"', 'LASTS = "1"')
    child = job.start("up", "--yes")
    ran = ended(child)
    assert ran.code == 0, ran.output
    (finished,) = [run for run in runs(job) if run["begin"] == begun]
    assert finished["code"] == 0, "it ended by itself"
    assert "skipped its run" in job.invoke("logs", "tick").output, "the new container let it end"
    spans = sorted((run["begin"], run["end"]) for run in runs(job) if run["end"])
    assert all(one[1] <= other[0] for one, other in pairwise(spans)), spans


def test_after_its_drain_it_is_asked_to_end(job: Workspace) -> None:
    change(job, "drain = 120\n", "drain = 1\n")
    change(job, 'LASTS = "1"', 'LASTS = "600"')
    job.up("--yes")
    wait_until(lambda: [run["code"] for run in runs(job)][:1] == [None], "it runs")
    change(job, 'LASTS = "600"', 'LASTS = "1"')
    started_at = time.monotonic()
    assert job.invoke("up", "--yes").code == 0
    assert time.monotonic() - started_at < 60
    assert 4 in [run["code"] for run in runs(job)], "SIGTERM reached it"


def test_after_a_restart_it_goes_on_and_knows_its_runs(job: Workspace) -> None:
    """The engine has ended it and brought it back, as after a restart of the machine."""
    container = engine.client().containers.get(job.ids()["tick"])
    assert container.attrs["HostConfig"]["RestartPolicy"]["Name"] == "always"
    before = len(runs(job))
    container.restart(timeout=0)
    wait_until(lambda: status(job)["state"] in ("scheduled", "failing"), "it is well again")
    assert len(runs(job)) >= before
    wait_until(lambda: len([run for run in runs(job) if run["code"] is not None]) > before, "it has run again")
