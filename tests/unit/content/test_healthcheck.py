"""How long a container may take to get healthy."""

from __future__ import annotations

import pytest

from slipway._internal.content.healthcheck import Healthcheck

CHECK = ("check",)


@pytest.mark.parametrize(
    ("check", "own", "seconds"),
    [
        (Healthcheck(()), None, 60),
        (Healthcheck(()), 5, 5),
        (Healthcheck(CHECK, interval=5, start_period=20), None, 60),
        (Healthcheck(CHECK), None, 90),
        (Healthcheck(CHECK, interval=10, start_period=120, retries=6), None, 180),
        (Healthcheck(CHECK, interval=10, start_period=120), 300, 300),
        (Healthcheck(CHECK, interval=10, start_period=120), 5, 120),
        (Healthcheck(CHECK), 5, 5),
    ],
)
def test_it_is_what_the_service_says_or_what_its_check_takes_to_call_it_unhealthy(
    check: Healthcheck, own: float | None, seconds: float
) -> None:
    assert check.start_seconds(own) == seconds
