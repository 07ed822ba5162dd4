"""A suffix is another one exactly when something secret changes, and tells nothing about it."""

from __future__ import annotations

import re

from slipway.provider.kind import State, Stop
from slipway.provider.suffix import Suffix
from slipway.provider.values import UNKNOWN, Secret


def test_a_suffix_is_random_and_shows_no_secret() -> None:
    made = [Suffix().create("urn", {"of": {"TOKEN": "hunter2"}}, Stop()).outputs for _ in range(2)]
    assert all(re.fullmatch(r"[0-9a-f]{10}", each["text"]) for each in made)
    assert made[0] != made[1]
    assert "hunter2" not in str(made)


def test_it_stays_as_long_as_the_secret_does() -> None:
    old = State("urn", "suffix", {"of": {"A": "1"}}, {"text": "0123456789"})
    assert not Suffix().diff(old, {"of": {"A": "1"}}).changed
    assert list(Suffix().diff(old, {"of": {"A": "2"}}).changed) == ["of"]
    assert list(Suffix().diff(old, {"of": {"A": "1", "B": "1"}}).changed) == ["of"]
    assert Suffix().update(old, {"of": {"A": "2"}}, Stop())["text"] != "0123456789"


def test_a_preview_does_not_know_the_next_one() -> None:
    assert Suffix().foresee({"of": {"A": "2"}}) == {"text": UNKNOWN}
    assert Suffix().kept(State("urn", "suffix", {}, {"text": "0123456789"})) == {}


def test_it_takes_secrets() -> None:
    assert not Suffix().check({"of": {"A": Secret("x")}}).failures
