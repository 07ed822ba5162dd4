"""A bake as it is followed: each service's steps are told, kept in its log, and what failed is named for what it is."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from slipway._internal.build.bake_output import BakeOutputHandler
from slipway._internal.context.reporter import NullReporter
from slipway._internal.model.errors import GateRefused, SlipwayError
from slipway._internal.run.process import ProcessResult

START = "2026-11-23T08:30:29.346385257Z"
FAILED = ProcessResult(1, "ERROR: failed to solve")
TARGETS = ["api", "api_report", "api_test"]


class StateRecorder(NullReporter):
    """Remembers each state of a service."""

    def __init__(self) -> None:
        self.states: list[tuple[str, str]] = []

    def step(self, service: str, state: str, detail: str = "") -> None:
        self.states.append((service, state))

    def failed(self, service: str, state: str) -> None:
        self.states.append((service, state))


def vertex(name: str, **more: object) -> str:
    return json.dumps({"vertexes": [{"digest": name, "name": name, "started": START, **more}]})


def log(name: str, text: str) -> str:
    return json.dumps({"logs": [{"vertex": name, "stream": 1, "data": base64.b64encode(text.encode()).decode()}]})


def failing(folder: Path, step: str, *, error: str = "exit code: 1") -> tuple[SlipwayError, StateRecorder]:
    """Follow a bake that fails in a step; return its error and the recorded states."""
    recorder = StateRecorder()
    follower = BakeOutputHandler(recorder, folder, TARGETS)
    for line in (vertex(step), log(step, "assert 1 == 2\n"), vertex(step, error=error)):
        follower(line)
    follower.close()
    return follower.error_for(FAILED), recorder


@pytest.mark.parametrize("stage", ["test", "linux/arm64 test"])
def test_a_test_stage_that_fails_is_a_refusal(tmp_path: Path, stage: str) -> None:
    error, recorder = failing(tmp_path, f"[api_test {stage} 8/8] RUN pytest")
    assert isinstance(error, GateRefused)
    assert "api did not pass its tests" in error.message and "RUN pytest" in error.message
    assert error.detail == "assert 1 == 2"
    assert error.log == tmp_path / "api.build.log"
    assert "assert 1 == 2" in error.log.read_text(encoding="utf-8")
    assert recorder.states == [("api", "testing"), ("api", "testing"), ("api", "failed")]


@pytest.mark.parametrize(
    "step", ["[api_test build 3/6] RUN pip", "[api run 2/4] COPY gone gone", "[api test 1/1] RUN x"]
)
def test_any_other_step_that_fails_is_a_failed_build(tmp_path: Path, step: str) -> None:
    error, _ = failing(tmp_path, step)
    assert not isinstance(error, GateRefused)
    assert "api could not be built" in error.message


def test_a_frontend_that_cannot_be_pulled_is_known_by_buildkits_own_step_and_no_instruction_is_taken_for_it(
    tmp_path: Path,
) -> None:
    image = f"docker-image://docker.io/docker/dockerfile:1.7@sha256:{'0' * 64}"
    error, _ = failing(tmp_path, f"[api] resolve image config for {image}", error="no such host")
    assert "needs no registry" in error.remedy
    error, _ = failing(tmp_path, f"[api build 2/5] RUN echo {image}")
    assert "needs no registry" not in error.remedy


def test_what_was_cancelled_because_of_another_step_is_not_what_failed(tmp_path: Path) -> None:
    follower = BakeOutputHandler(NullReporter(), tmp_path, TARGETS)
    follower(vertex("[api run 2/4] RUN long", error="context canceled"))
    follower(vertex("[api_test test 8/8] RUN pytest", error="exit code: 1"))
    follower.close()
    assert isinstance(follower.error_for(FAILED), GateRefused)


def test_a_bake_that_never_began_is_told_in_its_own_words(tmp_path: Path) -> None:
    follower = BakeOutputHandler(NullReporter(), tmp_path, TARGETS)
    follower("ERROR: no builder")
    follower.close()
    error = follower.error_for(FAILED)
    assert "could not be started" in error.message and error.detail == "ERROR: no builder"


def test_a_service_has_one_log_for_all_its_targets(tmp_path: Path) -> None:
    follower = BakeOutputHandler(NullReporter(), tmp_path, [*TARGETS, "web"])
    follower(vertex("[api_test test 8/8] RUN pytest"))
    follower(vertex("[web 1/1] FROM x"))
    follower.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["api.build.log", "web.build.log"]
    assert "RUN pytest" in (tmp_path / "api.build.log").read_text(encoding="utf-8")
