"""A suffix changes exactly when a secret value changes, and reveals nothing about it."""

from __future__ import annotations

import re

from slipway._internal.provider.handler import ResourceState
from slipway._internal.provider.suffix import SuffixHandler
from slipway._internal.provider.values import UNKNOWN, SecretValue
from slipway._internal.rollout.cancellation import CancellationToken


def test_a_suffix_is_random_and_shows_no_secret() -> None:
    made = [SuffixHandler().create("urn", {"of": {"TOKEN": "hunter2"}}, CancellationToken()).outputs for _ in range(2)]
    assert all(re.fullmatch(r"[0-9a-f]{10}", each["text"]) for each in made)
    assert made[0] != made[1]
    assert "hunter2" not in str(made)


def test_it_stays_as_long_as_the_secret_does() -> None:
    old = ResourceState("urn", "suffix", {"of": {"A": "1"}}, {"text": "0123456789"})
    assert not SuffixHandler().diff(old, {"of": {"A": "1"}}).changed
    assert list(SuffixHandler().diff(old, {"of": {"A": "2"}}).changed) == ["of"]
    assert list(SuffixHandler().diff(old, {"of": {"A": "1", "B": "1"}}).changed) == ["of"]
    assert SuffixHandler().update(old, {"of": {"A": "2"}}, CancellationToken())["text"] != "0123456789"


def test_a_preview_does_not_know_the_next_one() -> None:
    assert SuffixHandler().preview_outputs({"of": {"A": "2"}}) == {"text": UNKNOWN}
    assert SuffixHandler().unchanged_outputs(ResourceState("urn", "suffix", {}, {"text": "0123456789"})) == {}


def test_it_takes_secrets() -> None:
    assert not SuffixHandler().check({"of": {"A": SecretValue("x")}}).failures
