"""The shared code does what its users rely on."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from common import logs, models, secrets


def test_an_item_survives_the_way_over_json() -> None:
    assert models.Item.read({"id": 1, "name": "anchor", "stock": 3}) == models.Item(1, "anchor", 3)


def test_what_is_no_item_is_refused() -> None:
    with pytest.raises(ValueError, match="no item"):
        models.Item.read({"id": 1})


def test_a_log_line_is_json_with_its_extra_fields() -> None:
    record = logging.makeLogRecord({"msg": "polled %s", "args": ("api",), "levelname": "INFO", "items": 4})
    line = json.loads(logs.JsonLines().format(record))
    assert (line["message"], line["level"], line["items"]) == ("polled api", "info", 4)


def test_secrets_are_listed_by_name_and_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "API_TOKEN").write_text("s3cret", encoding="utf-8")
    assert secrets.names(tmp_path) == ["API_TOKEN"]
    assert secrets.read("API_TOKEN", tmp_path) == "s3cret"
    with pytest.raises(LookupError, match=r"service\.toml"):
        secrets.read("OTHER", tmp_path)
