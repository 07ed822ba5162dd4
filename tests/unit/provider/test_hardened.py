"""The init that every container has, where the engine has one to give."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.model.errors import SlipwayError
from slipway.provider import hardened
from slipway.provider.hardened import where_there_is_an_init
from slipway.run import engine

MISSING = 'the Docker engine refused: exec: "docker-init": executable file not found in $PATH'


@pytest.fixture(autouse=True)
def _engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "address", lambda: "unix:///var/run/docker.sock")
    monkeypatch.setattr(hardened, "_without_init", set())


def test_an_engine_without_an_init_gets_containers_without_one_and_is_asked_once() -> None:
    asked: list[Any] = []

    def make() -> str:
        asked.append(hardened.hardened()["init"])
        if asked[-1]:
            raise SlipwayError(MISSING)
        return "made"

    assert [where_there_is_an_init(make) for _ in range(2)] == ["made", "made"]
    assert asked == [True, False, False]


@pytest.mark.parametrize("what", ["it ended with exit code 3", MISSING])
def test_what_fails_for_another_reason_or_again_is_told(what: str) -> None:
    def make() -> None:
        raise SlipwayError(what)

    with pytest.raises(SlipwayError, match=what[:20]):
        where_there_is_an_init(make)
