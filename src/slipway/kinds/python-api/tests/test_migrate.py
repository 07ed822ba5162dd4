"""Migrations are applied in the order of their names, each once."""

from __future__ import annotations

import pytest

from app import migrate, store


def test_what_was_applied_is_not_pending() -> None:
    names = [path.name for path in migrate.pending(set())]
    assert names == sorted(names) and names
    assert [path.name for path in migrate.pending({names[0]})] == names[1:]


def test_without_a_database_the_error_says_what_is_missing() -> None:
    with pytest.raises(LookupError, match=store.DATABASE):
        migrate.main()
