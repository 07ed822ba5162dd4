"""Records are written whole, read back as they were, and only the newest stay."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from slipway._internal.model import run_record as records
from slipway._internal.model.run_record import Phase, RecordedStep, RunRecord, busy_seconds

RECORD = RunRecord(
    "deploy",
    1_795_445_643.892,
    12.5,
    "failed",
    stack="dev",
    mode="inline",
    problem="api could not be built",
    phases=(Phase("plan", 0.0, 1.0),),
    services={"api": (RecordedStep("[run 1/2] COPY . .", "step", 1.0, 2.5, "failed"),)},
    images={"api": "r/x/api@sha256:1"},
    known=3,
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = records.save(tmp_path, RECORD)
    assert path.name.startswith("20261123T145403.892000Z-deploy-")
    assert records.load_all(tmp_path) == [RECORD]


def test_only_the_newest_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORDS", 3)
    for number in range(5):
        records.save(tmp_path, msgspec.structs.replace(RECORD, began=RECORD.began + number))
    assert [each.began - RECORD.began for each in records.load_all(tmp_path)] == pytest.approx([2, 3, 4])
    assert not list(records.folder_of(tmp_path).glob(".*"))


def test_what_is_no_record_of_this_version_is_passed_over(tmp_path: Path) -> None:
    folder = records.save(tmp_path, RECORD).parent
    (folder / "20261123T000000.000000Z-build-1.json").write_text('{"what": "bui', encoding="utf-8")
    later = {**msgspec.to_builtins(RECORD), "version": 99}
    (folder / "20291123T000000.000000Z-build-1.json").write_text(json.dumps(later), encoding="utf-8")
    assert records.load_all(tmp_path) == [RECORD]


def test_the_last_of_some_kinds_of_work(tmp_path: Path) -> None:
    build = msgspec.structs.replace(RECORD, what="build")
    assert records.latest([build, RECORD], records.BUILD_VERBS) is build
    assert records.latest([build, RECORD], records.DEPLOY_VERBS) is RECORD
    assert records.latest([RECORD], records.BUILD_VERBS) is None


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([(1, 3)], 2),
        ([(1, 3), (2, 5)], 4),
        ([(1, 9), (2, 3)], 8),
        ([(5, 6), (1, 2)], 2),
    ],
)
def test_overlapping_steps_count_once(spans: list[tuple[float, float]], seconds: float) -> None:
    assert busy_seconds([RecordedStep("x", "step", *span) for span in spans]) == pytest.approx(seconds)
