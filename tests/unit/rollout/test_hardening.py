"""The init process of containers, on engines that have one and on engines that do not."""

from __future__ import annotations

from typing import Any

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout import hardening
from slipway._internal.rollout.hardening import with_init_fallback
from slipway._internal.run import engine

MISSING = 'the Docker engine refused: exec: "docker-init": executable file not found in $PATH'


@pytest.fixture(autouse=True)
def _engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "address", lambda: "unix:///var/run/docker.sock")
    monkeypatch.setattr(hardening, "_engines_without_init", set())


def test_an_engine_without_an_init_gets_containers_without_one_and_is_asked_once() -> None:
    asked: list[Any] = []

    def make() -> str:
        asked.append(hardening.hardened_settings()["init"])
        if asked[-1]:
            raise SlipwayError(MISSING)
        return "made"

    assert [with_init_fallback(make) for _ in range(2)] == ["made", "made"]
    assert asked == [True, False, False]


@pytest.mark.parametrize("what", ["it ended with exit code 3", MISSING])
def test_what_fails_for_another_reason_or_again_is_told(what: str) -> None:
    def make() -> None:
        raise SlipwayError(what)

    with pytest.raises(SlipwayError, match=what[:20]):
        with_init_fallback(make)
