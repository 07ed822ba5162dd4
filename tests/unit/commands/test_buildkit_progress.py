"""What BuildKit tells is given to the service that it belongs to."""

from __future__ import annotations

import base64
import json

from slipway._internal.commands.buildkit_progress import BuildEvent, BuildStep, ProgressParser


def vertex(digest: str, name: str, **more: object) -> str:
    return json.dumps({"vertexes": [{"digest": digest, "name": name, **more}]})


def log(digest: str, text: str, stream: int = 1) -> str:
    return json.dumps(
        {"logs": [{"vertex": digest, "stream": stream, "data": base64.b64encode(text.encode()).decode()}]}
    )


START = "2026-11-23T08:30:29.346385257Z"
END = "2026-11-23T08:30:31.846385Z"


def test_a_step_is_read_from_its_name() -> None:
    [event] = ProgressParser(["api", "web"]).feed(vertex("d", "[api build 2/5] RUN pip install", started=START))
    assert event == BuildEvent("started", BuildStep("api", "build", 2, 5, "RUN pip install", internal=False))
    assert str(event.step) == "[build 2/5] RUN pip install"


def test_platforms_belong_to_the_stage_and_a_lone_stage_has_no_name() -> None:
    progress = ProgressParser(["api", "web"])
    [first] = progress.feed(vertex("a", "[api linux/arm64 run 1/2] COPY . .", started=START))
    [second] = progress.feed(vertex("b", "[web 1/2] FROM x", started=START))
    assert (first.step.stage, second.step.stage) == ("linux/arm64 run", "")
    assert str(second.step) == "[1/2] FROM x"


def test_buildkits_own_steps_are_internal() -> None:
    progress = ProgressParser(["api", "web"])
    [first] = progress.feed(vertex("a", "[api internal] load .dockerignore", started=START))
    [second] = progress.feed(vertex("b", "[api] exporting to image", started=START))
    assert first.step.internal
    assert second.step.internal
    assert second.step.text == "exporting to image"
    assert progress.feed(vertex("c", "[internal] load local bake definitions", started=START)) == []


def test_a_single_target_owns_everything_though_bake_leaves_out_its_name() -> None:
    [event] = ProgressParser(["build"]).feed(vertex("d", "[build 2/5] RUN x", started=START))
    assert event.step == BuildStep("build", "build", 2, 5, "RUN x", internal=False)


def test_each_thing_is_told_once_with_its_time() -> None:
    progress = ProgressParser(["api", "web"])
    assert [e.kind for e in progress.feed(vertex("d", "[api 1/1] RUN x", started=START))] == ["started"]
    assert progress.feed(vertex("d", "[api 1/1] RUN x", started=START)) == []
    [done] = progress.feed(vertex("d", "[api 1/1] RUN x", started=START, completed=END))
    assert (done.kind, round(done.seconds, 1)) == ("done", 2.5)
    assert progress.feed(vertex("d", "[api 1/1] RUN x", started=START, completed=END)) == []


def test_a_cached_step_and_a_failed_one_say_so() -> None:
    progress = ProgressParser(["api", "web"])
    [cached] = progress.feed(vertex("a", "[api 1/2] RUN x", started=START, completed=END, cached=True))
    [failed] = progress.feed(vertex("b", "[api 2/2] RUN y", started=START, completed=END, error="exit code: 1"))
    assert cached.kind == "cached"
    assert (failed.kind, failed.text) == ("failed", "exit code: 1")


def test_lines_are_put_together_and_the_last_one_is_not_lost() -> None:
    progress = ProgressParser(["api", "web"])
    progress.feed(vertex("d", "[api 1/1] RUN x", started=START))
    assert progress.feed(log("d", "one\ntw")) == [BuildEvent("log", BuildStep("api", "", 1, 1, "RUN x", False), "one")]
    assert progress.feed(log("d", "error\n", stream=2))[0].text == "error"
    assert [event.text for event in progress.feed(log("d", "o\r\nthree"))] == ["two"]
    events = progress.feed(vertex("d", "[api 1/1] RUN x", started=START, completed=END))
    assert [(event.kind, event.text) for event in events] == [("log", "three"), ("done", "")]


def test_of_a_progress_bar_what_stands_at_the_end_is_told() -> None:
    progress = ProgressParser(["api"])
    progress.feed(vertex("d", "[1/1] RUN x", started=START))
    assert [event.text for event in progress.feed(log("d", "10%\r50%\r100%\n"))] == ["100%"]


def test_a_shared_step_is_told_to_all_also_to_one_that_comes_later() -> None:
    progress = ProgressParser(["api", "web"])
    progress.feed(vertex("d", "[api 1/1] RUN x", started=START))
    progress.feed(log("d", "one\n"))
    late = progress.feed(vertex("d", "[web 1/1] RUN x", started=START))
    assert [(event.target, event.kind, event.text) for event in late] == [
        ("web", "log", "one"),
        ("web", "started", ""),
    ]
    assert [event.target for event in progress.feed(log("d", "two\n"))] == ["api", "web"]


def test_warnings_are_events_and_other_words_are_kept() -> None:
    progress = ProgressParser(["api"])
    progress.feed(vertex("d", "[internal] load build definition", started=START))
    short = base64.b64encode(b"FromAsCasing").decode()
    [event] = progress.feed(json.dumps({"warnings": [{"vertex": "d", "short": short}]}))
    assert (event.kind, event.text) == ("warning", "FromAsCasing")
    assert progress.feed("ERROR: target api: failed to solve") == []
    assert progress.feed("{not json") == []
    assert progress.feed("") == []
    assert progress.feed("{}") == []
    assert progress.text == ["ERROR: target api: failed to solve", "{not json"]


def test_bytes_that_are_no_text_do_no_harm() -> None:
    progress = ProgressParser(["api"])
    progress.feed(vertex("d", "[1/1] RUN x", started=START))
    data = base64.b64encode(b"\xff\n").decode()
    [event] = progress.feed(json.dumps({"logs": [{"vertex": "d", "data": data}]}))
    assert event.text == "\ufffd"
    assert progress.feed(json.dumps({"logs": [{"vertex": "d", "data": "!"}]})) == []
