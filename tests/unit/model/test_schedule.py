"""A schedule is refused for what Kubernetes would refuse it for, before a deploy."""

from __future__ import annotations

import pytest

from slipway._internal.model import schedule


@pytest.mark.parametrize(
    "text", ["0 3 * * *", "*/15 0-6,12 1 jan-MAR mon", "? ? ? ? ?", "59 23 31 12 6", "1-30/2 * * * *", *schedule.MACROS]
)
def test_what_cron_knows_is_taken(text: str) -> None:
    assert schedule.schedule_problem(text) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has 0 fields"),
        ("0 3 * *", "it has 4 fields"),
        ("0 0 3 * * *", "it has 6 fields"),
        ("60 * * * *", "'60' is not a valid minute"),
        ("* 24 * * *", "'24' is not a valid hour"),
        ("* * 0 * *", "'0' is not a valid day of the month"),
        ("* * * 13 *", "'13' is not a valid month"),
        ("* * * * 7", "'7' is not a valid day of the week"),
        ("30-10 * * * *", "'30-10' is not a valid minute"),
        ("*/0 * * * *", "'*/0' is not a valid minute"),
        ("a * * * *", "'a' is not a valid minute"),
        (", * * * *", "',' is not a valid minute"),
        ("TZ=UTC 0 3 * * *", "it has 6 fields"),
        ("@nightly", "'@nightly' is not a schedule keyword"),
        ("@every 5m", "is not a schedule keyword"),
    ],
)
def test_what_it_does_not_know_is_named(text: str, said: str) -> None:
    assert said in schedule.schedule_problem(text)
