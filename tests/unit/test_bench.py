"""The bench's pure parts: runs in turn, medians, limits, the chart, the page and results.json."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from bench import chart, measure, page, results, table, trees
from bench.figures import NAMES, cold, loop, one, sizes, titles
from bench.measure import AT_LEAST, Limit, Row, Times
from bench.process import Failed, run

OURS = Row("nothing", "Slipway: invoke build, 100 services", 0.4, "s", Limit(0.35), runs=5, low=0.3, high=0.5)
THEIRS = Row("nothing", "docker buildx bake <raw>", 5.7, "s", None, 14.25, runs=5, low=5.5, high=6.1)
UNSET = Row("loop", "Slipway: invoke dev", None, "s", Limit(2.0), note="there is no `invoke dev` | yet")
SVG = "{http://www.w3.org/2000/svg}"


def test_contestants_take_turns_and_warm_rounds_do_not_count() -> None:
    order: list[str] = []

    def work(name: str, duration: float) -> float:
        order.append(name)
        return duration * len(order)

    found = measure.in_turn({"a": lambda: work("a", 1.0), "b": lambda: work("b", 1.0)}, 3, warm=1)
    assert order == ["a", "b"] * 4
    assert found["a"].seconds == [3.0, 5.0, 7.0]
    assert found["b"].median == 6.0


def test_who_fails_is_out_with_its_reason_and_the_others_go_on() -> None:
    calls: list[str] = []

    def fails() -> float:
        calls.append("x")
        raise Failed("bake ended with 1", "ERROR: no such job abc\n")

    found = measure.in_turn({"bake": fails, "ours": lambda: 1.0}, 2)
    assert calls == ["x"]
    row = found["bake"].row("cold", "bake", to=found["ours"])
    assert row.value is None
    assert row.note == "bake ended with 1: ERROR: no such job abc"
    assert found["ours"].median == 1.0


def test_work_that_does_not_time_itself_is_timed_from_outside() -> None:
    (times,) = measure.in_turn({"quick": lambda: None}, 2).values()
    assert len(times.seconds) == 2
    assert all(0 <= each < 1 for each in times.seconds)


@pytest.mark.parametrize(
    ("limit", "value", "held"),
    [
        (Limit(1.05), 1.05, True),
        (Limit(1.05), 1.06, False),
        (Limit(5, AT_LEAST), 5.0, True),
        (Limit(5, AT_LEAST), 4.9, False),
    ],
)
def test_a_limit_is_at_most_or_at_least(limit: Limit, value: float, held: bool) -> None:
    assert Row("cold", "x", value, "×", limit).held is held
    assert Row("cold", "x", None, "×", limit).held is None


def test_a_ratio_is_taken_pair_by_pair_as_a_machine_drifts() -> None:
    ours, theirs = Times([1.0, 2.0, 30.0]), Times([1.0, 4.0, 30.0])
    row = measure.against("cold", "x", ours, theirs, Limit(1.05))
    assert (row.value, row.low, row.high) == (1.0, 0.5, 1.0)
    assert measure.against("cold", "x", ours, Times(failure="no such job"), Limit(1.05)).note == "no such job"


def test_a_row_survives_its_json() -> None:
    for row in (OURS, THEIRS, UNSET):
        assert measure.row_of(row.as_dict()) == row


def test_the_table_says_missed_and_what_was_not_measured() -> None:
    said = table.table([OURS, THEIRS, UNSET])
    assert "MISSED" in said.splitlines()[0]
    assert "14.25 × ours" in said.splitlines()[1]
    assert "not measured" in said.splitlines()[2]
    assert table.verdict([OURS, THEIRS, UNSET]) == "0 limits held, 1 missed, 1 not measured."


def test_the_chart_is_an_svg_with_a_bar_for_each_and_all_text_escaped() -> None:
    root = ET.fromstring(chart.chart([OURS, THEIRS, UNSET]))
    bars = [each for each in root.iter(f"{SVG}rect") if each.get("class") in ("bar", "ours")]
    assert [each.get("class") for each in bars] == ["ours", "bar"]
    assert float(bars[1].get("width", "0")) > 10 * float(bars[0].get("width", "0"))
    assert len(list(root.iter(f"{SVG}line"))) == 1
    assert any(each.text == "docker buildx bake <raw>" for each in root.iter(f"{SVG}text"))
    assert "prefers-color-scheme: dark" in chart.STYLE


def test_no_text_of_the_chart_leaves_it() -> None:
    long = Row("nothing", "a rival with a name that is much too long to stand beside a bar", 900.0, "s", None, 99.9)
    root = ET.fromstring(chart.chart([OURS, long]))
    for each in root.iter(f"{SVG}text"):
        x, width = float(each.get("x", "0")), 7.0 * len(each.text or "")
        assert x - width >= 0 if each.get("text-anchor") == "end" else x + width <= chart.WIDTH, each.text


def test_a_chart_without_a_comparison_says_so() -> None:
    assert "Nothing has been measured yet" in chart.chart([UNSET])


def test_the_page_has_every_figure_measured_or_not() -> None:
    found = results.Results(
        {"cores": "2"}, (OURS, THEIRS, UNSET), False, {"nothing": "2026-11-23", "loop": "2026-11-23"}
    )
    text = page.page(found, titles())
    assert all(f"## {title}" in text for title, _about in titles().values())
    assert "| Slipway: invoke build, 100 services | 0.40 s | 0.30–0.50 of 5 |  | at most 0.35 | missed |" in text
    assert "there is no `invoke dev` \\| yet" in text
    assert text.count("Not measured on this machine.") == len(NAMES) - 2


def test_results_keep_other_figures_of_the_same_machine_only(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    here, elsewhere = {"processor": "a", "cores": "2"}, {"processor": "b", "cores": "64"}
    results.write(file, results.Results(here, (OURS,)))
    results.write(file, results.Results(here, (UNSET,), quick=True))
    assert [row.figure for row in results.read(file).rows] == ["nothing", "loop"]
    assert (results.read(file).days or {})["loop"].endswith("(quick)")
    results.write(file, results.Results(elsewhere, (UNSET,)))
    assert [row.figure for row in results.read(file).rows] == ["loop"]


def test_the_page_in_docs_is_what_the_results_say() -> None:
    bench = trees.ROOT / "bench" / "results.json"
    found = results.read(bench)
    assert (trees.ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == page.page(found, titles())
    assert (trees.ROOT / "docs" / "bench.svg").read_text(encoding="utf-8") == chart.chart(found.rows)


def test_a_service_of_a_tree_has_32_files(tmp_path: Path) -> None:
    names = trees.fill(tmp_path, 12)
    folders = [tmp_path / "services" / name for name in names]
    assert {len([each for each in folder.rglob("*") if each.is_file()]) for folder in folders} == {trees.FILES}
    users = [folder for folder in folders if "COPY --from=shared" in (folder / "Dockerfile").read_text()]
    assert len(users) == trees.LIB_USERS


def test_a_new_step_is_another_each_time(tmp_path: Path) -> None:
    (name,) = trees.fill(tmp_path, 1, step=cold.STEP)
    file = tmp_path / "services" / name / "Dockerfile"
    seen = {file.read_text()}
    for _ in range(3):
        trees.nonce(tmp_path)
        seen.add(file.read_text())
    assert len(seen) == 4
    assert all(text.count("RUN ") == 1 and text.count("#") <= 1 for text in seen)


def test_what_was_built_is_counted_from_the_commands_own_words() -> None:
    said = "s0001        built 0123456789ab\ns0002        built already 0123456789ab\ns0003        in the registry\n"
    assert one.BUILT.findall(said) == ["s0001"]


def test_what_is_pushed_is_what_the_registry_did_not_have() -> None:
    def manifest(code: str, size: int) -> dict[str, object]:
        layers = [{"digest": "sha256:base", "size": 1000}, {"digest": code, "size": size}]
        return {"config": {"digest": "sha256:c", "size": 10}, "layers": layers}

    before, after = sizes.image_of(manifest("sha256:1", 20), 5), sizes.image_of(manifest("sha256:2", 30), 5)
    assert after.size == 1045
    assert after.beyond(before) == 45


@pytest.mark.parametrize("edit", [loop.PYTHON, loop.NODE])
def test_the_lines_that_are_saved_are_in_the_templates_services(edit: loop.Edit, tmp_path: Path) -> None:
    kind = {"api": "python-api", "web": "node-web"}[edit.file.split("/")[1]]
    source = trees.ROOT / "src" / "slipway" / "kinds" / kind
    target = tmp_path / edit.file
    target.parent.mkdir(parents=True)
    target.write_text((source / Path(*edit.file.split("/")[2:])).read_text(encoding="utf-8"), encoding="utf-8")
    edit.save(tmp_path, "9.1.0")
    edit.save(tmp_path, "9.2.0")
    assert target.read_text(encoding="utf-8").count("9.2.0") == 1


def test_a_command_that_fails_says_why_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(Failed) as failed:
        run(["sh", "-c", "echo one; echo 'ERROR: it is broken'; echo three; exit 3"], tmp_path)
    assert "ended with 3: ERROR: it is broken" in failed.value.short
    with pytest.raises(Failed, match="is not there"):
        run(["no-such-program"], tmp_path)


def test_a_command_that_is_stopped_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.process.SECONDS", 0.5)
    with pytest.raises(Failed, match="did not end"):
        run(["sh", "-c", "sleep 4711 & wait"], tmp_path)
    left = subprocess.run(["pgrep", "-f", "sleep 4711"], capture_output=True, check=False)
    assert left.returncode == 1
