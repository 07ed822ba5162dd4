"""What the verbs print that only read: status, logs, the report and the advice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.tasks.conftest import Flows, ended_with, rows

from slipway._internal import targets
from slipway._internal.model.errors import SlipwayError
from slipway._internal.release import status as flow
from slipway._internal.run import streams
from slipway._internal.targets.status import ServiceStatus
from slipway._internal.tasks import images, look, reports
from tests import synthetic

RUNNING = ServiceStatus("service-000", "healthy", "many/service-000@sha256:a1", "3 h", "")


def test_status_has_a_line_for_each_service(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(flow, "read_stack_status", [RUNNING])
    ended_with(0, look.status)
    assert ("service-000", "healthy", "many/service-000@sha256:a1", "3", "h", "none") in rows(capsys.readouterr().out)
    ended_with(0, look.status, json=True)
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["service"], found["state"], found["drift"]) == ("service-000", "healthy", "")


def test_where_nothing_runs_status_says_what_starts_it(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(flow, "read_stack_status", [])
    ended_with(0, look.status, stack="prod")
    out = capsys.readouterr().out
    assert "prod" in out and "invoke deploy --stack prod" in out


def test_status_of_a_place_that_does_not_answer_is_an_error(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(flow, "read_stack_status", SlipwayError("the engine is silent", remedy="Start it."))
    ended_with(1, look.status)
    assert "Start it." in capsys.readouterr().err


class Logs:
    """Stands for a target that has a log."""

    def __init__(self) -> None:
        self.asked: tuple[str, bool, int] | None = None

    def logs(self, service: str, *, follow: bool, tail: int) -> list[str]:
        self.asked = (service, follow, tail)
        return ["one", "\x1b[2Jtwo"]


@pytest.fixture
def log(flows: Flows) -> Logs:
    found = Logs()
    flows.replace(targets, "target_of", found)
    flows.replace(flow, "target_of", lambda *_args: found)
    flows.replace(streams, "end_with_reader")
    return found


@pytest.mark.parametrize("service", ["service-000", "gateway"])
def test_a_log_is_printed_without_what_would_clear_a_terminal(
    log: Logs, capsys: pytest.CaptureFixture[str], service: str
) -> None:
    ended_with(0, look.logs, service, follow=True, tail=7)
    assert log.asked == (service, True, 7)
    out = capsys.readouterr().out
    assert out.startswith("one\n") and "two\n" in out and "\x1b" not in out


def test_the_log_of_an_unknown_service_is_refused(log: Logs, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(2, look.logs, "nobody")
    assert "nobody" in capsys.readouterr().err
    assert log.asked is None


def test_a_builds_log_is_printed_from_its_tail(log: Logs, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(2, look.logs, "service-000", build=True)
    assert "service-000" in capsys.readouterr().err
    folder = root / ".slipway" / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "service-000.build.log").write_text("first\nsecond\nlast\n", encoding="utf-8")
    ended_with(0, look.logs, "service-000", build=True, tail=2)
    assert capsys.readouterr().out == "second\nlast\n"
    assert log.asked is None


def test_a_report_is_a_page_at_the_place_that_was_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic.keep(root, synthetic.build(2, 1_700_000_000.0))
    ended_with(0, reports.report, last="build", out="page.html")
    assert str(root / "page.html") in capsys.readouterr().out
    assert "<html" in (root / "page.html").read_text(encoding="utf-8")


def test_the_reports_facts_are_printed_as_json_and_no_page_is_made(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synthetic.keep(root, synthetic.build(2, 1_700_000_000.0))
    ended_with(0, reports.report, json=True)
    assert "build" in json.loads(capsys.readouterr().out)["title"]
    assert not (root / ".slipway" / "report.html").exists()


@pytest.mark.parametrize(("last", "said"), [("ship", "--last build"), ("deploy", "invoke up"), (None, "invoke build")])
def test_what_there_is_no_record_of_has_no_report(
    root: Path, capsys: pytest.CaptureFixture[str], last: str | None, said: str
) -> None:
    ended_with(2, reports.report, last=last)
    assert said in capsys.readouterr().err


def test_advice_names_each_stacks_mode_and_the_one_that_suits_it(
    flows: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    ended_with(0, images.mode, advise=True)
    assert {row[:2] for row in rows(capsys.readouterr().out)} >= {("dev", "inline"), ("prod", "external")}
    ended_with(0, images.mode, advise=True, stack="dev", json=True)
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["stack"], found["current"]) == ("dev", "inline") and found["why"]


def test_advice_switches_nothing(flows: Flows, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(2, images.mode, "external", advise=True)
    assert "external" in capsys.readouterr().err
    assert "images: inline" in (root / "infra" / "Pulumi.dev.yaml").read_text(encoding="utf-8")
