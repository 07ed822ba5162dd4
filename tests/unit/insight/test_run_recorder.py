"""What a run leaves: a record of its phases and steps, however it ended; nothing where nothing was done."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path

import pytest

from slipway._internal.build.bake_output import BakeOutputHandler
from slipway._internal.commands.plain_progress import PlainProgressParser
from slipway._internal.context.reporter import NullReporter
from slipway._internal.insight import run_recorder
from slipway._internal.insight.run_recorder import Recorder, RecordingReporter, current_recorder, record_run
from slipway._internal.model import run_record as records
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.run_record import RunRecord
from slipway._internal.model.workspace import Workspace, load_workspace
from tests import synthetic


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return load_workspace(synthetic.workspace(tmp_path, 2))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands until a test sets it: the moment is its first item."""
    now = [1000.0]
    monkeypatch.setattr(run_recorder.time, "time", lambda: now[0])
    return now


def only(workspace: Workspace) -> RunRecord:
    [found] = records.load_all(workspace.root)
    return found


def test_a_run_in_which_nothing_was_done_leaves_no_record(workspace: Workspace) -> None:
    with record_run(workspace, "build") as record, record.phase("plan"):
        pass
    assert not records.folder_of(workspace.root).exists()


def test_phases_follow_each_other_and_parts_of_a_part_are_not_told_apart(
    workspace: Workspace, clock: list[float]
) -> None:
    with record_run(workspace, "deploy") as record:
        with record.phase("look"):
            clock[0] += 1
            with record.phase("inner"):
                clock[0] += 1
        with record.phase("start"):
            clock[0] += 1
            record.enter_phase("work")
            clock[0] += 3
        record.begin_step("api", "x", "gate")
    assert [(each.name, each.begin, each.end) for each in only(workspace).phases] == [
        ("look", 0, 2),
        ("start", 2, 3),
        ("work", 3, 6),
    ]


def test_a_failed_run_is_on_record_with_what_went_wrong_and_nothing_that_was_printed(workspace: Workspace) -> None:
    with pytest.raises(SlipwayError), record_run(workspace, "build") as record:
        record.begin_step("api", "RUN x", "step")
        raise SlipwayError("api could not be built", detail="the token is hunter2")
    found = only(workspace)
    assert (found.result, found.problem) == ("failed", "api could not be built")
    assert found.services["api"][0].state == "stopped"
    [file] = records.folder_of(workspace.root).glob("*.json")
    assert "hunter2" not in file.read_text(encoding="utf-8")


def test_an_interrupted_run_is_on_record(workspace: Workspace) -> None:
    with pytest.raises(KeyboardInterrupt), record_run(workspace, "build") as record:
        record.begin_step("api", "RUN x", "step")
        raise KeyboardInterrupt
    assert only(workspace).result == "interrupted"
    assert current_recorder().what == "nothing"


def test_what_is_called_on_the_way_joins_the_record_also_from_another_thread(workspace: Workspace) -> None:
    def other() -> None:
        with record_run(workspace, "build"):
            current_recorder().begin_step("api", "RUN x", "step")
            current_recorder().end_step("api", "RUN x", "step")

    with record_run(workspace, "ship"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert (only(workspace).what, list(only(workspace).services)) == ("ship", ["api"])


def test_a_record_that_cannot_be_written_makes_no_good_run_bad(workspace: Workspace) -> None:
    (workspace.root / ".slipway").write_text("no folder", encoding="utf-8")
    with record_run(workspace, "build") as record:
        record.begin_step("api", "RUN x", "step")
    assert (workspace.root / ".slipway").read_text(encoding="utf-8") == "no folder"


def test_a_bake_gives_its_steps_and_none_of_their_output(workspace: Workspace) -> None:
    def vertex(name: str, **more: object) -> str:
        start = "2026-11-23T08:30:29.5Z"
        return json.dumps({"vertexes": [{"digest": name, "name": name, "started": start, **more}]})

    end = "2026-11-23T08:30:32.0Z"
    run, copy = "[api run 2/2]  RUN   make", "[api run 1/2] COPY . ."
    data = base64.b64encode(b"hunter2\n").decode()
    with record_run(workspace, "build"):
        follower = BakeOutputHandler(NullReporter(), workspace.root / "logs", ["api", "web"])
        for line in (
            vertex(copy, completed=end, cached=True),
            vertex(run),
            json.dumps({"logs": [{"vertex": run, "stream": 1, "data": data}]}),
            vertex(run, completed=end),
        ):
            follower(line)
        follower.close()
    steps = {step.name: step for step in only(workspace).services["api"]}
    assert steps["[run 1/2] COPY . ."].state == "cached"
    assert steps["[run 2/2] RUN make"].state == "done"
    assert "hunter2" not in str(steps)
    assert "hunter2" in (workspace.root / "logs" / "api.build.log").read_text(encoding="utf-8")


def test_a_step_whose_end_was_lost_ends_with_the_next_one_and_the_last_with_the_build(clock: list[float]) -> None:
    record, plain = Recorder("deploy"), PlainProgressParser("api")
    record.begin_step("api", "image: building", "image")
    for line in ("#1 [run 1/3] COPY a", "#2 [run 2/3] COPY b", "#2 DONE 0.5s", "#3 [run 3/3] RUN c"):
        clock[0] += 1
        for event in plain.feed(line):
            record.record_build_event("api", event)
    clock[0] += 1
    record.end_build("api")
    record.end_step("api", "image: building", "image")
    found = record.to_record("done", "", 1).services["api"]
    assert [(step.name[:9], step.begin, step.end, step.state) for step in found] == [
        ("image: bu", 0, 5, "done"),
        ("[run 1/3]", 1, 2.5, "done"),
        ("[run 2/3]", 2.5, 3, "done"),
        ("[run 3/3]", 4, 5, "done"),
    ]


def test_what_is_under_way_for_a_service_that_fails_has_failed(clock: list[float]) -> None:
    record = Recorder("deploy")
    record.begin_step("api", "container: starting", "container")
    record.begin_step("web", "container: starting", "container")
    record.fail_service("api")
    found = record.to_record("failed", "", 2).services
    assert (found["api"][0].state, found["web"][0].state) == ("failed", "stopped")


def test_a_step_that_is_told_twice_is_one_step(clock: list[float]) -> None:
    record, plain = Recorder("deploy"), PlainProgressParser("api")
    for line, moment in (("#1 [run 1/1] FROM x", 1), ("#1 DONE 0.5s", 2), ("#1 DONE 3.0s", 4)):
        clock[0] = 1000 + moment
        for event in plain.feed(line):
            record.record_build_event("api", event)
    assert [(step.begin, step.end) for step in record.to_record("done", "", 1).services["api"]] == [(1, 4)]


def test_a_step_that_was_told_twice_has_failed_when_it_failed_once(clock: list[float]) -> None:
    record, plain = Recorder("deploy"), PlainProgressParser("api")
    for line in ("#1 [run 1/1] RUN x", "#1 DONE 0.0s", "#1 ERROR: no"):
        for event in plain.feed(line):
            record.record_build_event("api", event)
    assert [step.state for step in record.to_record("failed", "", 1).services["api"]] == ["failed"]


def test_a_start_is_told_in_parts_where_the_engines_clock_is_this_one(clock: list[float]) -> None:
    record = Recorder("deploy")
    for service in ("api", "web"):
        record.begin_step(service, "container: starting", "container")
    clock[0] += 10
    for service in ("api", "web"):
        record.end_step(service, "container: starting", "container")
    record.split_step("api", "container: starting", ("get", "start", "wait"), (1002.0, 1003.5))
    record.split_step("web", "container: starting", ("get", "start", "wait"), (2002.0, 2003.5))
    found = record.to_record("done", "", 1).services
    assert [(step.name, step.begin, step.end) for step in found["api"]] == [
        ("get", 0, 2),
        ("start", 2, 3.5),
        ("wait", 3.5, 10),
    ]
    assert [step.name for step in found["web"]] == ["container: starting"]


def test_the_states_that_a_flow_reports_are_steps_except_those_that_buildkit_tells_better(clock: list[float]) -> None:
    record = Recorder("ship")
    heard = RecordingReporter(NullReporter(), record)
    for state in ("building", "scanning", "scanning", "passed", "signing"):
        clock[0] += 1
        heard.step("api", state)
    clock[0] += 1
    heard.done("api", "signed")
    heard.step("web", "scanning")
    heard.failed("web", "failed")
    found = record.to_record("done", "", 1).services
    assert [(step.name, step.begin, step.end) for step in found["api"]] == [("scanning", 2, 4), ("signing", 5, 6)]
    assert found["web"][0].state == "failed"


def test_the_digest_of_what_was_built_is_read_from_its_layout(workspace: Workspace) -> None:
    layout = workspace.scratch / "oci" / "api" / ("0" * 64)
    with record_run(workspace, "build") as record:
        record.begin_step("api", "RUN x", "step")
        record.end_step("api", "RUN x", "step")
        layout.mkdir(parents=True)
        (layout / "index.json").write_text('{"manifests": [{"digest": "sha256:1"}]}', encoding="utf-8")
    assert only(workspace).images == {"api": "sha256:1"}
