"""What a report shows follows from the record and the workspace, and no fact becomes markup."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.insight import html_report
from slipway._internal.insight.page import page
from slipway._internal.insight.report_data import called_services, dependency_graph
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.run_record import Phase, RunRecord
from slipway._internal.model.workspace import load_workspace
from tests import synthetic


def test_the_graph_has_libs_services_and_calls(tmp_path: Path) -> None:
    found = dependency_graph(load_workspace(synthetic.workspace(tmp_path, 3)))
    assert {"kind": "lib", "name": "lib-0"} in found["nodes"]
    assert {"from": "service:service-000", "to": "service:service-001", "kind": "calls"} in found["edges"]


@pytest.mark.parametrize(
    ("value", "called"),
    [
        ("http://gateway:8080/s1", ["service-001"]),
        ("http://gateway:8080/s1/x?y=/s2", ["service-001"]),
        ("http://gateway:8080/s10", []),
        ("http://service-002:8002/x", ["service-002"]),
        ("service-002", ["service-002"]),
        ("postgres://u:p@service-002:5432/db", ["service-002"]),
        ("not-service-002x", []),
        ("http://gateway/s0", []),
    ],
)
def test_who_calls_whom_is_read_from_the_environment(tmp_path: Path, value: str, called: list[str]) -> None:
    workspace = load_workspace(synthetic.workspace(tmp_path, 3, f'TEST = "{value}"\n'))
    found = called_services(workspace, workspace.service("service-000"))
    assert [name for name in found if name != "service-001" or called == ["service-001"]] == called


def test_the_last_run_is_told_or_the_last_of_a_kind(tmp_path: Path) -> None:
    workspace = load_workspace(synthetic.workspace(tmp_path, 2))
    build = synthetic.build(2, 1000.0)
    deploy = RunRecord("deploy", 2000.0, 3.0, "done", stack="dev", phases=(Phase("Pulumi starts", 1, 2),))
    synthetic.keep(tmp_path, build, deploy)
    assert html_report.collect_last_run(workspace, None)["what"] == "deploy"
    found = html_report.collect_last_run(workspace, "build")
    assert (found["what"], len(found["services"]), len(found["history"])) == ("build", 2, 1)
    phases = html_report.collect_last_run(workspace, "deploy")["phases"]
    assert [(each["name"], each["begin"], each["end"]) for each in phases] == [
        ("between", 0, 1),
        ("Pulumi starts", 1, 2),
        ("the rest", 2, 3),
    ]


@pytest.mark.parametrize(
    ("last", "words"), [("ship", "neither"), ("build", "no build is on record"), (None, "no build or")]
)
def test_what_cannot_be_shown_is_said(tmp_path: Path, last: str | None, words: str) -> None:
    workspace = load_workspace(synthetic.workspace(tmp_path, 1))
    with pytest.raises(ConfigError, match=words):
        html_report.collect_last_run(workspace, last)


def test_a_page_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    workspace = load_workspace(synthetic.workspace(tmp_path, 1))
    synthetic.keep(tmp_path, synthetic.build(1, 1000.0))
    with pytest.raises(SlipwayError, match="cannot be written"):
        html_report.write_report(
            workspace, html_report.collect_last_run(workspace, None), tmp_path / "workspace.toml" / "report.html"
        )


def test_no_fact_ends_the_data_or_the_title(tmp_path: Path) -> None:
    workspace = load_workspace(synthetic.workspace(tmp_path, 1))
    synthetic.keep(tmp_path, synthetic.build(1, 1000.0, cached=0, extra="</script><b>$title"))
    text = page({**html_report.collect_last_run(workspace, None), "title": "</title><i>"})
    assert text.count("</script>") == 2
    assert "<b>$title" not in text and "\\u003cb>$title" in text
    assert "&lt;/title&gt;&lt;i&gt;" in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "").replace("http://gateway", "")
