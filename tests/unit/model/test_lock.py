"""A lock names every service by digest; anything else is no lock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.model import lock
from slipway.model.errors import EvidenceError

REF = f"127.0.0.1:5000/shop/api@sha256:{'a' * 64}"


def test_a_stack_that_was_never_locked_has_an_empty_lock(tmp_path: Path) -> None:
    assert lock.load(tmp_path, "dev").services == {}


def test_what_was_saved_is_read_back_in_order_of_name(tmp_path: Path) -> None:
    entries = {name: lock.Entry(REF, "c" * 64, "f00") for name in ("web", "api")}
    lock.save(tmp_path, lock.with_entries(lock.Lock("dev"), entries))
    found = lock.load(tmp_path, "dev")
    assert list(found.services) == ["api", "web"]
    assert found.services["api"].ref == REF


@pytest.mark.parametrize(
    "text",
    [
        "{",
        json.dumps({"stack": "prod"}),
        json.dumps({"stack": "dev", "version": 9}),
        json.dumps({"stack": "dev", "services": {"api": {"ref": "shop/api:latest", "content": "c"}}}),
        json.dumps({"stack": "dev", "services": {"api": {"ref": "shop/api@sha256:short", "content": "c"}}}),
        json.dumps({"stack": "dev", "extra": 1}),
    ],
)
def test_a_damaged_or_foreign_lock_is_refused_with_a_remedy(tmp_path: Path, text: str) -> None:
    path = lock.path_of(tmp_path, "dev")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(EvidenceError) as caught:
        lock.load(tmp_path, "dev")
    assert caught.value.exit_code == 4
    assert "git" in caught.value.remedy
