"""The report of a real build and a real deploy, and of a hundred services, as a real browser shows it.

Slow, because only a browser tells whether the page draws what is in the record, stays within its width, obeys the
keyboard, runs no text as markup and asks nobody for anything; and only a build tells whether the record is right.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.browser import Page, browser
from tests.e2e.workspace import Workspace

from slipway._internal.insight import html_report
from slipway._internal.model.workspace import load_workspace
from slipway._internal.targets.docker.observation import START_PARTS
from tests import synthetic

HOSTILE = "<img src=http://127.0.0.1:9/x onerror=alert(1)></script><script>document.title='owned'</script>&amp;"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a build of a hundred services, with a history, and a step whose name is hostile."""
    root = synthetic.workspace(tmp_path_factory.mktemp("hundred"), 100)
    now = time.time()
    older = [synthetic.build(100, now - 3600 * age, age) for age in range(12, 0, -1)]
    synthetic.keep(root, *older, synthetic.build(100, now, extra=HOSTILE), made_by=HOSTILE)
    workspace = load_workspace(root)
    return html_report.write_report(workspace, html_report.collect_last_run(workspace, "build"), None)


def count(page: Page, selector: str) -> int:
    return int(page.evaluate(f"document.querySelectorAll({selector!r}).length"))


def text(page: Page, selector: str) -> str:
    return str(page.evaluate(f"document.querySelector({selector!r})?.textContent ?? ''"))


def in_peace(page: Page, path: Path) -> None:
    """Nothing was said on the console, nothing but the file was asked for, and nothing is wider than the window."""
    assert page.said == []
    assert set(page.asked) == {path.as_uri()}
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.asked.clear()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280, 2400])
def test_a_hundred_services_are_drawn_within_any_width(page: Page, hundred: Path, width: int, dark: bool) -> None:
    began = time.monotonic()
    page.show(hundred, width, dark=dark)
    assert time.monotonic() - began < 20
    assert count(page, ".tl .row:not(.command)") == 100
    assert count(page, ".tl .bar") > 300
    assert count(page, ".run") == 13
    assert count(page, ".img") == 100
    assert count(page, ".layers button") == 300
    assert count(page, ".graph .node") == 110
    assert page.evaluate(
        "[...document.querySelectorAll('.bar')].every((bar) => bar.getBoundingClientRect().width >= 2)"
    )
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(15, 20, 26)") == dark
    in_peace(page, hundred)


def test_what_a_record_says_is_shown_as_text_and_never_run(page: Page, hundred: Path) -> None:
    page.show(hundred)
    assert page.evaluate("document.title").startswith("many: build")
    assert HOSTILE in text(page, "details td.wide")
    assert count(page, "img") == 0
    assert count(page, "script") == 2
    find = "const box = document.querySelector('input[type=search]'); box.value = 'onerror=alert'; "
    page.evaluate(f"{find} box.dispatchEvent(new Event('input')); 0")
    assert count(page, ".tl .row:not(.command)") == 100
    labels = page.evaluate("[...document.querySelectorAll('.bar')].map((bar) => bar.getAttribute('aria-label')).join()")
    assert HOSTILE in labels
    in_peace(page, hundred)


def test_steps_are_found_zoomed_and_walked_through_by_keyboard(page: Page, hundred: Path) -> None:
    page.show(hundred)
    page.evaluate("document.querySelector('.tl .bar').focus(); 0")
    first = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert text(page, "#tip").startswith(first.split(",")[0])
    page.press("ArrowRight")
    second = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert second != first and second.split(":")[0] == first.split(":")[0]
    page.press("ArrowDown")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").split(":")[0] != second.split(":")[0]
    page.press("Escape")
    assert page.evaluate("document.getElementById('tip').hidden")
    wide = page.evaluate("document.querySelector('.rows').getBoundingClientRect().width")
    page.evaluate("document.querySelector('[title=\"Zoom in\"]').click(); 0")
    assert page.evaluate("document.querySelector('.rows').getBoundingClientRect().width") > 1.4 * wide
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.evaluate(
        "const box = document.querySelector('input[type=search]'); box.value = 'SERVICE-042'; "
        "box.dispatchEvent(new Event('input')); 0"
    )
    assert count(page, ".tl .row:not(.command)") == 1
    in_peace(page, hundred)


def test_a_report_of_a_real_build_and_a_real_deploy(deployed: Workspace, page: Page) -> None:
    line = f"# A line of {time.time_ns()}.\nfrom __future__"  # which no earlier run has pushed
    deployed.edit("services/api/app/main.py", "from __future__", line)
    built = deployed.invoke("build")
    assert built.code == 0, built.output
    facts = deployed.invoke("report", "--last", "build", "--json").json()
    service = named(facts, "api")
    assert (facts["result"], facts["known"]) == ("done", 3)
    assert {step["state"] for step in service["steps"]} >= {"cached", "done"}
    assert any("COPY" in step["name"] and step["state"] == "done" for step in service["steps"])
    assert all(0 <= step["begin"] <= step["end"] <= facts["seconds"] for step in service["steps"])
    assert [phase["name"] for phase in facts["phases"] if phase["name"] in ("plan", "build")] == ["plan", "build"]
    assert sum(phase["end"] - phase["begin"] for phase in facts["phases"]) == pytest.approx(facts["seconds"], abs=0.2)
    shown(page, deployed, facts, "--last", "build")

    assert deployed.up()["healthy"]
    facts = deployed.invoke("report", "--json").json()
    steps = {step["kind"]: step for step in named(facts, "api")["steps"]}
    assert (facts["what"], facts["stack"], facts["mode"]) == ("deploy", "dev", "inline")
    names = [step["name"] for step in named(facts, "api")["steps"] if step["kind"] == "container"]
    assert names == [*START_PARTS, "container: draining the old one"]
    assert steps["image"]["end"] <= steps["container"]["begin"] + 0.5
    assert named(facts, "gateway")["steps"][0]["name"] == "gateway: switching"
    shown(page, deployed, facts)

    again = deployed.invoke("build")
    assert (again.code, again.output.count(" is ")) == (0, 3), again.output
    assert deployed.invoke("report", "--json").json()["what"] == "deploy"  # nothing was built, and nothing recorded

    advice = deployed.invoke("mode", "--advise", "--json").json()
    assert {line["stack"]: line["advised"] for line in advice}["prod"] == "external"
    assert next(line for line in advice if line["stack"] == "dev")["known"]["deploys"] >= 1


def test_a_build_that_fails_is_on_record(deployed: Workspace, page: Page) -> None:
    deployed.edit("services/api/Dockerfile", "AS run\n", "AS run\nRUN exit 7\n")
    assert deployed.invoke("build").code == 1
    facts = deployed.invoke("report", "--json").json()
    assert (facts["result"], "api could not be built" in facts["problem"]) == ("failed", True)
    assert "failed" in {step["state"] for step in named(facts, "api")["steps"]}
    shown(page, deployed, facts)
    assert text(page, ".problem") == facts["problem"]


def named(facts: dict[str, Any], service: str) -> dict[str, Any]:
    return next(each for each in facts["services"] if each["name"] == service)


def shown(page: Page, workspace: Workspace, facts: dict[str, Any], *words: str) -> None:
    """The page of the same facts draws each service, step, phase and image that is in them."""
    ran = workspace.invoke("report", "--out", "page/report.html", *words)
    assert ran.code == 0, ran.output
    path = workspace.root / "page" / "report.html"
    page.show(path)
    assert count(page, ".tl .row:not(.command)") == len(facts["services"])
    assert count(page, ".tl .bar") == sum(len(each["steps"]) for each in facts["services"])
    assert count(page, ".stack .part") == count(page, ".command .part") == len(facts["phases"])
    assert count(page, ".img") == len(facts["images"])
    assert count(page, ".bar.critical") == len(facts["critical"])
    assert count(page, ".graph .node") == len(facts["graph"]["nodes"]) > 3
    assert count(page, ".graph .edge") == len(facts["graph"]["edges"])
    assert text(page, ".badge") == facts["result"]
    in_peace(page, path)
