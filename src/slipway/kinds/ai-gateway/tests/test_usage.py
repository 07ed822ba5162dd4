"""The usage is for the administrator alone: as JSON, as CSV, and as a page that loads nothing from elsewhere."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from app import usage as report
from tests.gateways import ADMIN, KEY, Maker, serving, usage
from tests.upstream import INPUT, OUTPUT

Ask = Callable[..., Any]


def test_each_call_is_counted_by_day_tenant_service_model_and_prompt(make: Maker, ask: Ask) -> None:
    client = make()
    for model in ("good", "good", "safe", "broken"):
        ask(client, model)
    make.now += 86_400
    ask(client)
    rows = usage(client, to="2027-01-16").json()
    assert [(row["day"], row["model"], row["calls"], row["errors"]) for row in rows] == [
        ("2027-01-15", "broken", 1, 1),
        ("2027-01-15", "good", 2, 0),
        ("2027-01-15", "safe", 1, 0),
        ("2027-01-16", "good", 1, 0),
    ]
    assert {(row["tenant"], row["service"], row["prompt"]) for row in rows} == {("shop", "web", "-")}
    assert (rows[1]["input"], rows[1]["output"]) == (2 * INPUT, 2 * OUTPUT)
    assert rows[1]["cost"] == pytest.approx(2 * (INPUT + 2 * OUTPUT) / 1e6)
    answer = usage(client, "usage.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    found = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["model"], row["calls"]) for row in found] == [("broken", "1"), ("good", "2"), ("safe", "1")]


@pytest.mark.parametrize("header", ["", f"Bearer {KEY}", "Bearer ", "Bearer wrong"])
def test_nobody_else_sees_it(make: Maker, header: str) -> None:
    client = make()
    for name in ("usage.json", "usage.csv"):
        assert client.get(f"/{name}", headers={"Authorization": header}).status_code == 401


def test_without_a_key_of_the_administrator_there_is_none_that_fits() -> None:
    from app.keys import is_key

    assert not is_key("", "Bearer ")


@pytest.mark.parametrize("query", [{"from": "x"}, {"to": "2027-13-01"}, {"from": "2027-01-16"}, {"from": "2020-01-01"}])
def test_days_that_are_none_are_refused(make: Maker, query: dict[str, str]) -> None:
    assert usage(make(), **query).status_code == 400


def test_the_page_has_all_that_it_needs_and_may_load_nothing_else(make: Maker) -> None:
    answer = make().get("/usage", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert not re.search(r"(?:src|href)=|url\(|@import|\son\w+=|\sstyle=", answer.text)
    assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
    assert report.PAGE.count("<script") == report.PAGE.count("<style") == 1


def test_a_program_in_the_container_prints_it(
    make: Maker, ask: Ask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = make()
    ask(client)
    monkeypatch.setattr(report.secrets, "read", lambda _: ADMIN)
    with serving(client) as port:
        monkeypatch.setenv("PORT", str(port))
        day = ["--from=2027-01-15", "--to=2027-01-15"]
        report.main(day)
        assert json.loads(capsys.readouterr().out) == usage(client).json()
        report.main(["--csv", *day])
        assert capsys.readouterr().out == usage(client, "usage.csv").text
        report.main(["--table", "--by=model,tenant", *day])
        header, row, total = (line.split() for line in capsys.readouterr().out.splitlines())
        assert header == ["tenant", "model", "calls", "errors", "input", "output", "cost"]
        assert row == ["shop", "good", "1", "0", str(INPUT), str(OUTPUT), "$0.000017"]
        assert total == row[2:]
        report.main(["--table", "--from=2027-01-14", "--to=2027-01-14"])
        assert capsys.readouterr().out == "Nothing was used in these days.\n"
        with pytest.raises(SystemExit, match="from and to are days"):
            report.main(["--from=yesterday"])


def test_rows_are_added_up_by_some_of_the_names(make: Maker, ask: Ask) -> None:
    client = make()
    for model in ("good", "good", "broken", "safe"):
        ask(client, model)
    rows = usage(client).json()
    (total,) = report.add_up(rows, ["tenant"])
    assert (total["tenant"], total["calls"], total["errors"], total["input"]) == ("shop", 4, 1, 3 * INPUT)
    assert total["cost"] == pytest.approx(sum(row["cost"] for row in rows))
    assert [row["calls"] for row in report.add_up(rows, ["model", "tenant"])] == [1, 2, 1]
