"""Each way by which text goes out strikes known secrets out, and what is kept of it is for its user's eyes only."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from slipway._internal.build.bake_output import BakeOutputHandler
from slipway._internal.context.reporter import NullReporter
from slipway._internal.insight.run_recorder import Recorder
from slipway._internal.model import run_record as records
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.masking import MASK, register_secret
from slipway._internal.release.engine_events import EngineEventReporter
from slipway._internal.run.process import ProcessResult, run
from slipway._internal.tasks import show

SENTINEL = "sentinel-of-the-door-4711"
STEP = "[api build 3/4] RUN cat /run/secrets/token"


@pytest.fixture(autouse=True)
def known() -> None:
    register_secret(SENTINEL)


def is_private(path: Path) -> bool:
    return path.stat().st_mode & 0o077 == 0


def test_what_a_program_prints_is_masked_in_its_log_and_tail_but_not_where_it_is_data(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "crane.log"
    result = run([sys.executable, "-c", f"print({SENTINEL!r})"], log=log)
    assert result.output == f"{SENTINEL}\n", "a program's output may be data"
    assert result.tail() == MASK
    assert log.read_text() == f"{MASK}\n"
    assert is_private(log) and is_private(log.parent)


def test_a_step_of_an_external_build_that_prints_a_secret_tells_nobody(tmp_path: Path) -> None:
    seen: list[str] = []
    reporter = SimpleNamespace(step=lambda *words: seen.extend(words), failed=lambda *_: None, done=lambda *_: None)
    follower = BakeOutputHandler(show_report(reporter), tmp_path, ["api"])
    written = base64.b64encode(f"{SENTINEL}\n".encode()).decode()
    vertex = {"digest": "v", "name": STEP, "started": "2026-11-23T08:30:29.346385257Z"}
    follower(json.dumps({"vertexes": [vertex]}))
    follower(json.dumps({"logs": [{"vertex": "v", "stream": 1, "data": written}]}))
    follower(json.dumps({"vertexes": [{**vertex, "error": f"exit code: 1: {SENTINEL}"}]}))
    follower.close()
    error = follower.error_for(ProcessResult(1, SENTINEL))
    log = tmp_path / "api.build.log"
    for text in (error.message, error.detail, error.remedy, log.read_text()):
        assert SENTINEL not in text
    assert MASK in error.detail and MASK in log.read_text()
    assert is_private(log)


def test_a_step_of_a_build_inside_pulumi_that_prints_a_secret_tells_nobody(tmp_path: Path) -> None:
    narrator = EngineEventReporter(NullReporter(), tmp_path)
    urn = "urn:pulumi:dev::demo::docker-build:index:Image::api"
    for severity in ("info", "error"):
        said = SimpleNamespace(urn=urn, message=f"#5 0.1 {SENTINEL}\n", severity=severity, ephemeral=False)
        narrator._handle_diagnostic(urn, said)  # type: ignore[arg-type]
    error = narrator.failures.combined_error()
    assert error is not None
    assert SENTINEL not in f"{error.message}{error.detail}{error.remedy}"
    assert SENTINEL not in (tmp_path / "api.build.log").read_text()
    assert is_private(tmp_path / "api.build.log")


def test_a_record_holds_no_secret(tmp_path: Path) -> None:
    recorder = Recorder("build")
    recorder.begin_step("api", f"RUN echo {'x' * 200} {SENTINEL}", "step")
    path = records.save(tmp_path, recorder.to_record("failed", f"it said {SENTINEL}", 1))
    assert SENTINEL[:12] not in path.read_text()
    assert MASK in path.read_text()
    assert is_private(path) and is_private(path.parent)


def show_report(reporter: Any) -> Any:
    return reporter


WAYS: dict[str, Callable[[str], None]] = {
    "error": lambda text: show.error(SlipwayError("it failed", detail=text)),
    "detail that was set later": lambda text: show.error(changed(SlipwayError("it failed"), text)),
    "say": show.say,
    "note": show.note,
    "plain": show.plain,
    "json": lambda text: show.as_json({"a": [text], text: 1}),
    "table": lambda text: show.table(("a", "b"), [(text, "x")]),
    "report: say": lambda text: show.PlainReporter().say(text),
    "report: step": lambda text: show.PlainReporter().step("api", text),
    "report: sign of life": lambda text: busy(show.PlainReporter(), text),
    "dev: log": lambda text: show.TerminalDevConsole(["api"], Console()).log("api", text),
    "dev: say": lambda text: show.TerminalDevConsole(["api"], Console()).say(text),
    "dev: problem": lambda text: show.TerminalDevConsole(["api"], Console()).show_error(SlipwayError(text)),
}


def changed(error: SlipwayError, text: str) -> SlipwayError:
    error.detail = error.remedy = text
    return error


def busy(report: show.PlainReporter, text: str) -> None:
    report.step("api", "building")
    report._printed_at["api"] -= show.SIGN_OF_LIFE_SECONDS
    report.step("api", "building", text)


@pytest.mark.parametrize("way", WAYS)
def test_what_a_user_sees_is_masked(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    WAYS[way](f"before {SENTINEL} behind")
    said = "".join(capsys.readouterr())
    assert MASK in said
    assert SENTINEL not in said


def test_what_moves_in_a_terminal_is_masked() -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=100)
    with show.LiveReporter("up", out) as report:
        report.say(f"said {SENTINEL}")
        report.step("api", "building", SENTINEL)
    assert MASK in out.file.getvalue()  # type: ignore[attr-defined]
    assert SENTINEL not in out.file.getvalue()  # type: ignore[attr-defined]
